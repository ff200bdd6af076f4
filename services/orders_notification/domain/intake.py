"""The values between intake's steps: submissions in, prepared rows to write, verdicts out."""

from collections.abc import Set
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from libs.contracts.erasing import nameless
from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.errors import FieldError
from libs.ids import CauseId, event_key, uuid7
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.deciding import Decided

BY_TOPIC = "topic:"

ACCEPTED = "accepted"
DUPLICATE = "duplicate"
REJECTED = "rejected"


class Origin(msgspec.Struct, frozen=True):
    """Who sent an event, and for whom. `client` is a key's id, `source:<name>` (a webhook) or `topic:<name>`."""

    tenant: int
    mode: Mode
    client: str
    traceparent: str | None = None
    source: str | None = None  # the source's name, if a source brought it
    replayed: UUID | None = None  # the rejection that is sent through again


class Raw(msgspec.Struct, frozen=True):
    """A request as received, without its credentials: what a replay needs."""

    body: bytes
    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Submission(msgspec.Struct, frozen=True):
    """One event on its way in."""

    origin: Origin
    event: BusinessEvent
    raw: Raw | None = None  # None: a rejection would store the event itself, in CloudEvents' JSON format
    came_at: datetime | None = None  # if it is replayed: when it came first; an erasure since then covers it


class Prepared(msgspec.Struct, frozen=True):
    """An event with its decisions, ready to write."""

    key: UUID
    cause: CauseId
    origin: Origin
    event: BusinessEvent
    decided: Decided
    body: bytes | None  # what is stored: the data with secrets hidden; None: erased
    traceparent: str
    came_at: datetime

    @property
    def named(self) -> list[str]:
        """Everybody that the event is about: the decisions' recipients, those not told, and its own; it is erased with
        each."""
        itself = [self.event.recipient] if self.event.recipient is not None else []
        return list(dict.fromkeys([*self.decided.recipients, *self.decided.untold, *itself]))

    def without(self, erased: Set[str]) -> "Prepared":
        """Return the event without its data and these recipients; their requests and decisions stay, nameless."""
        since = dict.fromkeys(erased, datetime.max.replace(tzinfo=UTC))
        itself = {name: None for name in ("recipient", "subject") if getattr(self.event, name) in erased}
        decisions = tuple(
            msgspec.structs.replace(one, recipient=None, detail=None) if one.recipient in erased else one
            for one in self.decided.decisions
        )
        requests = tuple(nameless(request, since) for request in self.decided.requests)
        untold = tuple(name for name in self.decided.untold if name not in erased)
        return msgspec.structs.replace(
            self,
            event=msgspec.structs.replace(self.event, extensions=None, **itself),
            decided=Decided(decisions, requests, untold),
            body=None,
        )


class Kept(msgspec.Struct, frozen=True):
    """A delivery that could not become an event, ready to write."""

    id: CauseId
    origin: Origin
    reason: Reason
    errors: tuple[FieldError, ...]
    raw: Raw
    event: BusinessEvent | None = None
    recipient: str | None = None  # whom it is about, if the event tells
    came_at: datetime | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The result of a submission. `id`: the cause; a duplicate's first cause; the rejection's, if it is stored."""

    status: str
    id: UUID | None = None
    decided: Decided | None = None
    reason: Reason = Reason.NONE
    errors: tuple[FieldError, ...] = ()

    @property
    def detail(self) -> str | None:
        """The first error's sentence, with the number of further ones."""
        if not self.errors:
            return None
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        return self.errors[0].detail + more


def key_of(origin: Origin, event: BusinessEvent) -> UUID:
    """Return the event's natural key within tenant and mode."""
    return event_key(origin.tenant, int(origin.mode), event.source, event.id)


def new_cause() -> CauseId:
    """Return a cause id: time-ordered, by the system's clock at first acceptance."""
    return CauseId(uuid7())
