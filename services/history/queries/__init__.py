"""History's queries: timelines, verdicts, actions."""

from dataclasses import dataclass, replace
from uuid import UUID

from libs.contracts.outcomes import Mode
from services.history.ports import Search


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a message's fate. `event`: a producer's event id, or our id of the accepted event."""

    tenant: int
    mode: Mode
    recipient: str | None = None
    order: str | None = None
    communication: str | None = None
    message: str | None = None
    event: str | None = None
    address_key: int | None = None

    @property
    def names_an_address_alone(self) -> bool:
        return self.address_key is not None and not any((self.recipient, self.order, self.message, self.event))

    def otherwise_written(self) -> "Question | None":
        """The same question about #1001 instead of 1001, or vice versa: shops print the #, people leave it out. Or
        without the spaces that came along when the number was copied."""
        if not self.order:
            return None
        if (plain := self.order.strip()) != self.order:
            return replace(self, order=plain) if plain else None
        return replace(self, order=self.order[1:] if self.order.startswith("#") else f"#{self.order}")

    def search(self, *, limit: int, before: UUID | None = None) -> Search:
        """The question as a search of the stores."""
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
    """Parse a UUID; None if the text is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
