"""What an adapter holds per sender (connections, credentials): created on first use, replaced when the
sender changes.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from libs.contracts.outcomes import Mode
from services.delivery.domain.outbound import Sender

T = TypeVar("T")


class PerSender(Generic[T]):
    """One `T` per sender. A changed sender gets a new one; `retire` lets the old one finish."""

    def __init__(self, make: Callable[[Sender], T], retire: Callable[[T], None]) -> None:
        self._make = make
        self._retire = retire
        self._kept: dict[tuple[int, Mode, int], tuple[int, T]] = {}

    def get(self, sender: Sender) -> T:
        """Return the sender's instance. An exception from `make` goes to the caller, and nothing is stored."""
        key = (sender.tenant, sender.mode, sender.number)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == sender.version:
            return kept[1]
        made = self._make(sender)
        self._kept[key] = (sender.version, made)
        if kept is not None:
            self._retire(kept[1])
        return made

    def drain(self) -> list[T]:
        """Return all instances and forget them."""
        everything = [made for _, made in self._kept.values()]
        self._kept.clear()
        return everything
