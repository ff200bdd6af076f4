"""Mail after mail over one connection: what both ways of handing over a text (by_data, by_chunks) share.

Each step says what it expects and which step follows; the connection calls that as the replies arrive. Only the last
mail wakes a task. The text separates *not sent* from *unknown*: before it the server has nothing, after it only the
server's reply can tell.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from libs.contracts.reasons import Reason
from services.delivery.adapters.smtp.bag import Bag
from services.delivery.adapters.smtp.connection import End
from services.delivery.adapters.smtp.mime import Composer, Mail
from services.delivery.adapters.smtp.opening import Session
from services.delivery.adapters.smtp.pool import Pool
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals.smtp import Reply, sort_reply

_REF_LIMIT = 200
TAKEN = frozenset({250, 251, 252})  # the codes that accept MAIL, RCPT and RSET


class Job(msgspec.Struct, frozen=True, gc=False):
    """A mail, and its index in the bag."""

    index: int
    mail: Mail


@dataclass(frozen=True, slots=True)
class Errand:
    """What a dialogue works on: mails from a bag, until it is empty, late, or the connection has reached its limit."""

    pool: Pool
    composer: Composer
    bag: Bag


class Dialogue(ABC):
    """One worker's use of a connection."""

    def __init__(self, session: Session, errand: Errand) -> None:
        self._session = session
        self._connection = session.connection
        self._pool = errand.pool
        self._account = errand.pool.account
        self._composer = errand.composer
        self._bag = errand.bag
        self._leaving = False  # the server said 421: it closes
        self._then: Callable[[], None] = self._start
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def run(self) -> bool:
        """Run the dialogue. True: the connection can be reused."""
        self._step()
        try:
            return await self._ended
        finally:
            self._connection.forget()
            del self._then  # breaks a reference cycle: the mails would otherwise wait for the garbage collector

    @abstractmethod
    def _start(self) -> None:
        """Take the first step."""

    # ---- steps

    def _expect(self, count: int, then: Callable[[], None], timeout: float, *, each: bool = False) -> None:
        self._then = then
        self._connection.expect(count, timeout, self._step, each=each)

    def _step(self) -> None:
        if self._ended.done():  # cancelled, but not yet notified
            return
        try:
            self._then()
        except Exception as error:  # noqa: BLE001 — called by the event loop: an exception here would reach nobody
            self._ended.set_exception(error)

    def _end(self) -> None:
        self._ended.set_result(not self._is_over())

    def _is_over(self) -> bool:
        return self._leaving or self._connection.end is not None

    def _replies(self, count: int) -> list[Reply]:
        """Return up to `count` replies that have arrived."""
        waiting = self._connection.replies
        return [waiting.popleft() for _ in range(count) if waiting]

    def _has_said_too_much(self) -> bool:
        """Whether there is more than we expected, so that the next reply could be taken for another mail's. Closes
        such a connection."""
        if self._connection.has_unread:
            self._connection.close(End.NONSENSE)
            return True
        return False

    # ---- mails

    def _next(self) -> Job | None:
        """Return the next mail that this server can take; mails that it cannot take are settled at once."""
        while (index := self._bag.take()) is not None:
            composed = self._composer.compose(self._bag.messages[index], self._session.features)
            if not isinstance(composed, Rejected):
                return Job(index, composed)
            self._bag.settle(index, composed)
        return None

    def _give_back(self, job: Job) -> None:
        """Return a mail to the bag; the server has none of it."""
        end = self._connection.end
        why = end.value if end else "the mail server is closing the connection"
        outcome = Deferred(Reason.PROVIDER_UNAVAILABLE, f"before the mail was handed over, {why}")
        self._bag.back(job.index, outcome, fresh=not self._session.mails)

    def _refused(self, job: Job, reply: Reply, command: str) -> None:
        outcome = sort_reply(reply, command)
        if reply.code == 421:
            self._leaving = True
            if self._session.mails and isinstance(outcome, Deferred):
                # it has accepted mails here before: the connection has reached its limit, we have not
                self._bag.back(job.index, outcome, fresh=False)
                return
        self._bag.settle(job.index, outcome)

    def _handed_over(self, job: Job, reply: Reply | None) -> None:
        """Settle a mail whose text the server has, by its reply; None: there was no reply."""
        self._bag.settle(job.index, self._judge(reply))
        if reply is not None and reply.code == 421:
            self._leaving = True

    def _judge(self, reply: Reply | None) -> Outcome:
        if reply is not None:
            if 200 <= reply.code < 300:
                return Sent(reply.text[:_REF_LIMIT] or None)  # "queued as …": the relay's own log is searched by it
            return sort_reply(reply, "message")
        if self._connection.end is End.TIMED_OUT:
            seconds = self._account.timeout_seconds
            return Ambiguous(Reason.TIMED_OUT, f"no reply in {seconds:g} s after the mail was handed over")
        return Ambiguous(Reason.CONNECTION_LOST, "the connection broke after the mail was handed over")
