"""What the simulator has to send later: receipts, status callbacks, bounce mails; sorted by due time."""

import heapq
import itertools
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class OwnReceipt:
    """A receipt in the simulator's own form, for channels whose provider has none. `id` deduplicates it."""

    id: str
    message: str
    attempt: int
    channel: str
    kind: str  # a word of libs.contracts.outcomes.ReceiptKind
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class StatusCallback:
    """An SMS's status, posted as a form and signed with the account's token."""

    url: str
    token: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReturnedMail:
    """A report about a mail, sent to its envelope sender."""

    to: str
    raw: bytes


Owed = OwnReceipt | StatusCallback | ReturnedMail


@dataclass(frozen=True, slots=True)
class Due:
    """One item to send, and how often it was tried."""

    owed: Owed
    tries: int = 0

    def again(self) -> "Due":
        return replace(self, tries=self.tries + 1)


@dataclass(slots=True)
class Agenda:
    """A heap by due time (seconds of the simulator's clock). Beyond `most`, the last item due is dropped."""

    most: int = 1_000_000
    _heap: list[tuple[float, int, Due]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, due: Due) -> None:
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, (at, next(self._order), due))

    def take(self, now: float, most: int = 500) -> list[Due]:
        """Return what is due, at most `most` items."""
        taken: list[Due] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            taken.append(heapq.heappop(self._heap)[2])
        return taken

    def clear(self) -> None:
        self._heap.clear()
