"""What travels between intake's steps: submissions in, prepared rows to write, verdicts out."""

from uuid import UUID

import msgspec

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
    """Who brought it, for whom. `client` is a key's id, `source:<name>` (a webhook) or `topic:<name>`."""

    tenant: int
    mode: Mode
    client: str
    traceparent: str | None = None
    source: str | None = None  # a source's name, where it came by one


class Raw(msgspec.Struct, frozen=True):
    """A request as it came, without its credentials: what replay needs."""

    body: bytes
    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Submission(msgspec.Struct, frozen=True):
    """One event on its way in."""

    origin: Origin
    event: BusinessEvent
    raw: Raw | None = None  # None: the event itself, in CloudEvents' JSON format, is what would be kept


class Prepared(msgspec.Struct, frozen=True):
    """An event with its decisions, ready to be written."""

    key: UUID
    cause: CauseId
    origin: Origin
    event: BusinessEvent
    decided: Decided
    body: bytes  # what is stored: the data with secrets hidden
    traceparent: str


class Kept(msgspec.Struct, frozen=True):
    """What could not become an event, ready to be written."""

    id: CauseId
    origin: Origin
    reason: Reason
    errors: tuple[FieldError, ...]
    raw: Raw
    event: BusinessEvent | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What became of a submission. `id` is the cause, the first one's for a duplicate, the rejection's if kept."""

    status: str
    id: UUID | None = None
    decided: Decided | None = None
    reason: Reason = Reason.NONE
    errors: tuple[FieldError, ...] = ()

    @property
    def detail(self) -> str | None:
        """The first error's sentence, with how many more there are."""
        if not self.errors:
            return None
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        return self.errors[0].detail + more


def key_of(origin: Origin, event: BusinessEvent) -> UUID:
    """The event's natural key within tenant and mode."""
    return event_key(origin.tenant, int(origin.mode), event.source, event.id)


def new_cause() -> CauseId:
    """A cause id: time-ordered, by the system's clock at first acceptance."""
    return CauseId(uuid7())
