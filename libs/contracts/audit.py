"""What a person or key changed: one declaration for all services; each publishes it as its own."""

from datetime import datetime
from typing import Any, ClassVar

from libs.contracts.envelope import Event, declared


@declared
class ActionRecorded(Event, frozen=True, kw_only=True):
    """Who did what to which object, before and after. `actor` is a key's id, `system` or a service's app id."""

    TYPE: ClassVar[str] = "action.recorded"
    actor: str
    action: str  # verb on a noun: "communication.publish", "hold.lift"
    object: str  # the object's name or id
    at: datetime
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    note: str | None = None
