"""The mails of one `send`, shared by the connections that work on it: each is taken and settled once."""

import time
from collections import deque
from collections.abc import Sequence

from services.delivery.domain.outbound import Outbound
from services.delivery.domain.outcomes import NOT_CALLED, Deferred, Outcome
from services.delivery.ports import Settle

_TRIES = 2  # one broken connection may be chance, two say something about the server


class Bag:
    """Indexes still to do. `failure` is why the last connection could not be opened."""

    def __init__(self, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        self.messages = messages
        self.settle = settle
        self.failure: Deferred | None = None
        self._deadline = deadline
        self._left = deque(range(len(messages)))
        self._tries: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._left) and not self.is_late()

    def is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def take(self) -> int | None:
        """Return the next index; None if there is none, or no time left."""
        return self._left.popleft() if self._left and not self.is_late() else None

    def back(self, index: int, outcome: Deferred, *, fresh: bool) -> None:
        """The connection broke before the text was handed over: retry once on another one, then settle with `outcome`.

        Only fresh connections count: one that has taken mails has gone stale, or has reached its limit."""
        tries = self._tries.get(index, 0) + fresh
        if tries >= _TRIES:
            self.settle(index, outcome)
            return
        self._tries[index] = tries
        self._left.appendleft(index)

    def empty(self) -> None:
        """Settle the mails that nobody got to: with the last connection's failure, or for lack of time."""
        outcome: Outcome = NOT_CALLED if self.failure is None or self.is_late() else self.failure
        while self._left:
            self.settle(self._left.popleft(), outcome)
