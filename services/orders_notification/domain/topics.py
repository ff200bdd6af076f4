"""Which topics a source may consume, and whether a worker consumes them for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

# all of them, so that every event is registered whichever service runs alone here
from libs.contracts import access, audit, bounce, delivery, orders_notification, templates, tokens  # noqa: F401
from libs.contracts.envelope import EVENTS
from libs.errors import Forbidden, Invalid
from libs.messaging.bus import Topic

_DEAD = ".dead"


class Hearing(StrEnum):
    """A worker's state for a topic; and the source's state if no worker reports."""

    HEARD = "heard"
    WAITING = "waiting"
    NO_COMPONENT = "no_component"
    NO_WORKER = "no_worker"
    NO_DAPR = "no_dapr"


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A sidecar's pub/sub components by name, and the topics that it has subscribed to."""

    components: frozenset[str]
    topics: frozenset[Topic]


@dataclass(frozen=True, slots=True)
class Report:
    """One worker's recent report on a topic; `since` when it has been in this state."""

    topic: Topic
    hearing: Hearing
    since: datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """Whether a source's topic is consumed, by how many workers, since when, and what to do."""

    state: Hearing
    detail: str
    workers: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grants:
    """The topics that tenants may consume: `tenant/component/topic` each, with * for any characters."""

    patterns: Sequence[str]

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            if pattern.count("/") < 2:
                raise Invalid(f"{pattern!r} is not tenant/component/topic.", pointer="topic_grants")

    def allow(self, tenant: int, topic: Topic) -> bool:
        asked = f"{tenant}/{topic.component}/{topic.name}"
        return not is_ours(topic) and any(fnmatchcase(asked, pattern) for pattern in self.patterns)


def is_ours(topic: Topic) -> bool:
    """Whether the suite's own events use this topic, on any component: two components may name one broker."""
    return topic.name.endswith(_DEAD) or any(topic.name == event.topic() for event in EVENTS.values())


def check(grants: Grants, tenant: int, topic: Topic) -> None:
    """Raise Invalid or Forbidden if this tenant may not consume the topic."""
    if is_ours(topic):
        raise Invalid(
            "The suite's own events of all tenants use this topic; name one of the shop's.",
            pointer="/topic/name",
        )
    if not grants.allow(tenant, topic):
        raise Forbidden(
            f"Tenant {tenant} may not consume {topic.component}/{topic.name}; the suite's operator can grant it with "
            "DEPESCHE_ORDERS_NOTIFICATION_TOPIC_GRANTS."
        )


def hearing(topic: Topic, subscribed: Subscribed) -> Hearing:
    """Return one sidecar's state for a topic."""
    if topic.component not in subscribed.components:
        return Hearing.NO_COMPONENT
    return Hearing.HEARD if topic in subscribed.topics else Hearing.WAITING


def heard(topic: Topic, reports: Iterable[Report], *, dapr: bool) -> Heard:
    """Combine all workers' reports into the best state, since one worker that consumes a topic is enough."""
    if not dapr:
        return Heard(Hearing.NO_DAPR, _DETAILS[Hearing.NO_DAPR])
    said = [report for report in reports if report.topic == topic]
    for state in (Hearing.HEARD, Hearing.WAITING, Hearing.NO_COMPONENT):
        if found := [report.since for report in said if report.hearing is state]:
            return Heard(state, _DETAILS[state].format(component=topic.component), len(found), min(found))
    return Heard(Hearing.NO_WORKER, _DETAILS[Hearing.NO_WORKER])


_DETAILS = {
    Hearing.HEARD: "Its messages are received.",
    Hearing.WAITING: "The sidecar has not subscribed to it yet: it reads its subscriptions when it starts. Restart it, "
    "or let the worker do it (DEPESCHE_ORDERS_NOTIFICATION_TOPIC_RESTART_SIDECAR).",
    Hearing.NO_COMPONENT: "The worker's sidecar has no pub/sub component {component!r}; add it, or correct its name.",
    Hearing.NO_WORKER: "No worker of orders-notification reported on it in the last minute; check that one runs.",
    Hearing.NO_DAPR: "It is not consumed: this suite runs on the embedded bus, and topics need Dapr's sidecar "
    "(DEPESCHE_BUS=dapr). Publish to /orders-notification/v1/events until then.",
}
