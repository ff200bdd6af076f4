"""A few connections to one server, and the batches waiting for room on them.

Batches take turns call by call, so that a single message waits behind a few messages of a large chunk, not behind
all. The pool opens a connection if the open ones have no room. If it cannot open one, it tells the waiting batches at
once, and the next batch tries again: pausing is the breaker's job.
"""

import asyncio
import time
from collections import deque

from services.delivery.adapters.http2.calls import Batch, Call, Failure, Fields, Lost
from services.delivery.adapters.http2.connection import Connection
from services.delivery.adapters.http2.keeping import Limits
from services.delivery.adapters.http2.opening import Origin, Unopened, open_connection

_PAUSE_SECONDS = 1.0
_MOST_FRUITLESS = 2  # connections in a row that ended before they answered anything


class Pool:
    """At most `connections` at a time. `fields`: the header of every call; while it is None, nothing begins."""

    def __init__(self, origin: Origin, limits: Limits, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.fields: Fields | None = None
        self._origin = origin
        self._limits = limits
        self._most = connections
        self._queue: deque[Batch] = deque()
        self._open: list[Connection] = []
        self._alive: set[Connection] = set()  # these, and those draining or closing
        self._opening: set[asyncio.Task[None]] = set()
        self._not_before = 0.0
        self._fruitless = 0
        self._retired = False

    def add(self, batch: Batch) -> None:
        """Serve the batch from now on, along with the rest."""
        self._queue.append(batch)
        self.serve()

    def forget(self, batch: Batch) -> None:
        """The batch's caller has gone: begin no more of it and report nothing to it."""
        self.withdraw(batch)
        for connection in list(self._alive):
            connection.forget(batch)

    def withdraw(self, batch: Batch) -> None:
        """Begin no more of the batch."""
        if batch in self._queue:
            self._queue.remove(batch)
            self._rest()

    def serve(self) -> None:
        """Begin as many calls as there is room for; open a connection if there is none."""
        for connection in list(self._open):
            self.has_room(connection)
        if self._queue and self.fields is not None:
            self._open_more()

    def fail_waiting(self, failure: Failure) -> None:
        """Report the failure to every batch's calls that have not been taken."""
        batches, self._queue = self._queue, deque()
        for batch in batches:
            batch.fail_waiting(failure)
        self._rest()

    def retire(self) -> None:
        """Close each connection once nothing waits and it has no calls."""
        self._retired = True
        self._rest()

    async def close(self) -> None:
        """Retire, and wait for the open connections to end."""
        self.retire()
        while ends := [*self._opening, *(connection.closed for connection in self._alive)]:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self._rest()

    # ---- what connections tell

    def has_opened(self, connection: Connection) -> None:
        self._open.append(connection)
        self._alive.add(connection)
        connection.closed.add_done_callback(lambda _: self._alive.discard(connection))
        self._rest()

    def has_room(self, connection: Connection) -> None:
        """Fill the connection, in one write."""
        if not self._queue or self.fields is None:
            return
        now = time.monotonic()
        for _ in range(connection.room()):
            call = self._next(now)
            if call is None:
                break
            call.fields = self.fields
            if not connection.begin(call, now):
                break
        connection.flush()
        self._rest()

    def drains(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
        self._loop.call_soon(self.serve)  # later, because the connection is in the middle of something

    def has_ended(self, connection: Connection) -> None:
        """A connection that ended before it answered anything counts as a failed one; two in a row are no accident."""
        if connection not in self._alive:
            return  # it never opened; the code that was opening it reports that
        if connection in self._open:
            self._open.remove(connection)
        self._fruitless = 0 if connection.answered or not self._queue else self._fruitless + 1
        if self._fruitless >= _MOST_FRUITLESS and not self._open and not self._opening:
            self._fruitless = 0
            self.fail_waiting(Failure(Lost.NOT_SENT, connection.why_ended or "the connection ended"))
        else:
            self._loop.call_soon(self.serve)

    def takes_back(self, call: Call) -> None:
        call.batch.give_back(call)
        if call.batch not in self._queue:
            self._queue.append(call.batch)

    # ---- inside

    def _next(self, now: float) -> Call | None:
        queue = self._queue
        while queue:
            batch = queue[0]
            call = batch.take(now)
            if not batch.waiting:
                queue.popleft()
            elif len(queue) > 1:
                queue.rotate(-1)
            if call is not None:
                return call
        return None

    def _open_more(self) -> None:
        """Open as many as the waiting calls would fill; if others are open, not right after a failure to open one."""
        if self._open and time.monotonic() < self._not_before:
            return
        waiting = sum(batch.waiting for batch in self._queue)
        while (
            waiting > len(self._opening) * self._limits.streams_unsaid
            and len(self._open) + len(self._opening) < self._most
        ):
            task = self._loop.create_task(self._open_one())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_one(self) -> None:
        try:
            await open_connection(self, self._origin, self._limits)
        except Unopened as error:
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            self._opening -= {asyncio.current_task()}  # now, because others may end in this turn too
            if not self._open and not self._opening:
                self.fail_waiting(Failure(Lost.NOT_SENT, error.text, error.our_fault))

    def _rest(self) -> None:
        """Nothing waits: retiring connections may go."""
        if self._retired and not self._queue:
            for connection in list(self._open):
                self._open.remove(connection)
                connection.retire()
