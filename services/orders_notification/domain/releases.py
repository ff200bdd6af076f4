"""A published release as intake needs it: its trigger, its recipients, and what the request carries.

The bundle with its templates is separate (`delivery` compiles it); deciding never touches it.
Expressions see one variable, `event`: id, type, source, subject, time (a timestamp), data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from libs.contracts.outcomes import Lane, Mode, OnUnknown
from libs.expressions import Expression, Needs, needed
from libs.ids import ReleaseId, TenantId
from services.orders_notification.domain.event_types import EventType

EVENT_VARIABLES = ("event",)


@dataclass(frozen=True, slots=True)
class CompiledRelease:
    """An active release with its compiled expressions."""

    id: ReleaseId
    tenant: TenantId
    mode: Mode
    communication: str
    version: int
    trigger: str  # the event type
    condition: Expression | None  # None: always
    recipient: Expression | None  # gives one key, a list of keys, or null; None: the event's own recipient
    lane: Lane
    on_unknown: OnUnknown
    expiry_seconds: int  # from the event's own time


@dataclass(frozen=True, slots=True)
class Listeners:
    """The releases that listen to one event type, sorted by communication, and the paths that they read."""

    releases: Sequence[CompiledRelease]
    needs: Needs


def listeners(releases: Iterable[CompiledRelease]) -> Listeners:
    """Sort the releases of one type and collect the paths that their expressions read."""
    ordered = sorted(releases, key=lambda release: release.communication)
    expressions = [e for r in ordered for e in (r.condition, r.recipient) if e is not None]
    return Listeners(ordered, needed(expressions))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that intake needs of one tenant and mode, as of `version`; replaced as a whole when that changes."""

    version: int
    by_type: Mapping[str, Listeners]
    event_types: Mapping[str, EventType] = field(default_factory=dict)

    def listening_to(self, type_: str) -> Listeners:
        return self.by_type.get(type_, NOBODY)


NOBODY = listeners(())


def catalogue(version: int, releases: Iterable[CompiledRelease], event_types: Iterable[EventType]) -> Catalogue:
    """Group releases by their trigger."""
    grouped: dict[str, list[CompiledRelease]] = {}
    for release in releases:
        grouped.setdefault(release.trigger, []).append(release)
    return Catalogue(
        version, {type_: listeners(group) for type_, group in grouped.items()}, {t.type: t for t in event_types}
    )
