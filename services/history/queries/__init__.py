"""What history can be asked: timelines, verdicts, actions."""

from dataclasses import dataclass
from uuid import UUID

from libs.contracts.outcomes import Mode
from services.history.ports import Search


@dataclass(frozen=True, slots=True)
class Question:
    """Whom and what it is about. `event`: a producer's event id, or our id of the accepted event."""

    tenant: int
    mode: Mode
    recipient: str | None = None
    order: str | None = None
    communication: str | None = None
    message: str | None = None
    event: str | None = None
    address_key: int | None = None

    def search(self, *, limit: int, before: UUID | None = None) -> Search:
        """The same as a search of the stores."""
        return Search(
            self.tenant,
            self.mode,
            recipient=self.recipient,
            subject=self.order,
            communication=self.communication,
            event_id=self.event,
            message=self.message,
            address_key=self.address_key,
            before=before,
            limit=limit,
        )


def uuid_of(text: str) -> UUID | None:
    """The UUID that a text is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None
