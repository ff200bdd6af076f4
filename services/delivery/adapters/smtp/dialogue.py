"""Mail after mail over one connection (RFC 5321), in as few packets as the server allows.

With PIPELINING (RFC 2920) MAIL, RCPT and DATA go out together, and those of the next mail together with the
end of the text before: one write and one read per mail. The line between *not sent* and *nobody knows* is
the final dot: before it the server has nothing, after it only its reply can tell.

Each step says what it expects and which step follows; the connection calls that as the replies come. A mail wakes
no task: only the last one does.

    _offer ─▶ _answered ─354─▶ _hand_over ─▶ _handed_over ─▶ _go_on_with the next
                  └─refused─▶ _start_over ─▶ _started_over ─┘
"""

import asyncio
from collections.abc import Callable

import msgspec

from libs.contracts.reasons import Reason
from services.delivery.adapters.smtp.bag import Bag
from services.delivery.adapters.smtp.connection import End
from services.delivery.adapters.smtp.mime import Composer, Mail
from services.delivery.adapters.smtp.opening import Session
from services.delivery.domain.outbound import SmtpAccount
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals.smtp import Reply, sort_reply

_REF_LIMIT = 200
_COMMANDS = ("MAIL", "RCPT", "DATA")
_GO_ON = (_OK := frozenset({250, 251, 252}), _OK, frozenset({354}))  # the codes with which each is taken


class _Job(msgspec.Struct, frozen=True, gc=False):
    index: int
    mail: Mail


class Dialogue:
    """Takes mails out of the bag until it is empty, late, or the connection has had its share."""

    def __init__(
        self, session: Session, account: SmtpAccount, composer: Composer, bag: Bag, may_go_on: Callable[[], bool]
    ) -> None:
        """`may_go_on` is asked before each mail but the first."""
        self._session = session
        self._connection = session.connection
        self._pipelining = session.features.pipelining
        self._account = account
        self._composer = composer
        self._bag = bag
        self._may_go_on = may_go_on
        self._leaving = False  # the server said 421: it closes
        self._job: _Job | None = None  # the mail that the server is being asked about, or has been given
        self._following: _Job | None = None
        self._said: list[Reply] = []  # to its commands, where they are asked one by one
        self._then: Callable[[], None] = self._start
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def run(self) -> bool:
        """Work. True: the connection is clean."""
        self._step()
        try:
            return await self._ended
        finally:
            self._connection.forget()
            del self._then  # it holds us, and we the mails: they would wait for the garbage collector

    def _expect(self, count: int, then: Callable[[], None], timeout: float) -> None:
        self._then = then
        self._connection.expect(count, timeout, self._step)

    def _step(self) -> None:
        if self._ended.done():  # cancelled, and not yet told
            return
        try:
            self._then()
        except Exception as error:  # noqa: BLE001 — the event loop calls us: raised here it would reach nobody
            self._ended.set_exception(error)

    def _start(self) -> None:
        job = self._next()
        if job is not None and self._pipelining:
            self._connection.write(job.mail.envelope)
        self._go_on_with(job)

    def _go_on_with(self, job: _Job | None) -> None:
        """The next mail, if there is one and the server still listens."""
        if self._is_over():
            if job is not None:
                self._give_back(job)
            self._ended.set_result(False)
        elif job is None:
            self._ended.set_result(True)
        else:
            self._offer(job)

    # ---- the envelope

    def _offer(self, job: _Job) -> None:
        """Ask whether the server takes this mail; with pipelining it has been asked already."""
        self._job = job
        if self._pipelining:
            self._expect(len(_COMMANDS), self._answered, self._account.reply_timeout_seconds)
        else:
            self._said = []
            self._ask_next()

    def _ask_next(self) -> None:
        lines = self._current().mail.envelope.splitlines(keepends=True)
        self._exchange(lines[len(self._said)], self._answered_one)

    def _answered_one(self) -> None:
        said = self._said
        said += self._replies(1)
        if 0 < len(said) < len(_COMMANDS) and not self._is_over() and said[-1].code in _GO_ON[len(said) - 1]:
            self._ask_next()
        else:
            self._judge_envelope(said)

    def _answered(self) -> None:
        self._judge_envelope(self._replies(len(_COMMANDS)))

    def _judge_envelope(self, replies: list[Reply]) -> None:
        """Hand over the text where the server waits for it; else the mail is settled or back in the bag."""
        job = self._current()
        for place, reply in enumerate(replies):
            if reply.code not in _GO_ON[place]:
                self._refused(job, reply, _COMMANDS[place])
                if len(replies) == len(_COMMANDS) and replies[2].code == 354:
                    # it took DATA although it has no recipient (RFC 2920 §3.1): give it nothing
                    self._exchange(b".\r\n", self._given_nothing)
                else:
                    self._start_over()
                return
        if len(replies) == len(_COMMANDS) and self._connection.has_unread:
            # more than we asked for: the next reply would be taken for this mail's, whatever it means
            self._connection.close(End.NONSENSE)
            replies = []
        if len(replies) < len(_COMMANDS):
            self._give_back(job)
            self._start_over()
        elif self._bag.is_late():
            # once DATA has been said, only closing takes it back
            self._bag.settle(job.index, NOT_CALLED)
            self._connection.close()
            self._start_over()
        else:
            self._hand_over(job)

    def _refused(self, job: _Job, reply: Reply, command: str) -> None:
        outcome = sort_reply(reply, command)
        if reply.code == 421:
            self._leaving = True
            if self._session.mails and isinstance(outcome, Deferred):
                # it has taken mails here before: enough for this connection, not for us
                self._bag.back(job.index, outcome, fresh=False)
                return
        self._bag.settle(job.index, outcome)

    def _given_nothing(self) -> None:
        self._replies(1)
        self._start_over()

    def _start_over(self) -> None:
        """After a refusal: RSET, and the next mail's envelope behind it where it may be."""
        if self._is_over():
            self._go_on_with(None)
            return
        self._following = job = self._next() if self._may_go_on() else None
        envelope = job.mail.envelope if job is not None and self._pipelining else b""
        self._exchange(b"RSET\r\n" + envelope, self._started_over)

    def _started_over(self) -> None:
        replies = self._replies(1)
        if not replies or replies[0].code == 421:
            self._leaving = True
        self._go_on_with(self._following)

    # ---- the text

    def _hand_over(self, job: _Job) -> None:
        """Send the text, and the next mail's envelope behind it."""
        self._following = following = self._next() if self._may_go_on() else None
        if following is not None and self._pipelining:
            self._connection.write(job.mail.data + following.mail.envelope)
        else:
            self._connection.write(job.mail.data)
        self._expect(1, self._handed_over, self._account.timeout_seconds)

    def _handed_over(self) -> None:
        replies = self._replies(1)
        self._session.mails += 1
        self._bag.settle(self._current().index, self._judge(replies[0] if replies else None))
        if replies and replies[0].code == 421:
            self._leaving = True
        self._go_on_with(self._following)

    def _judge(self, reply: Reply | None) -> Outcome:
        if reply is not None:
            if 200 <= reply.code < 300:
                return Sent(reply.text[:_REF_LIMIT] or None)  # "queued as …": what the relay's own log is searched by
            return sort_reply(reply, "message")
        if self._connection.end is End.TIMED_OUT:
            seconds = self._account.timeout_seconds
            return Ambiguous(Reason.TIMED_OUT, f"no reply in {seconds:g} s after the mail was handed over")
        return Ambiguous(Reason.CONNECTION_LOST, "the connection broke after the mail was handed over")

    # ---- inside

    def _next(self) -> _Job | None:
        """The next mail that this server can be given; those that it cannot are settled at once."""
        while (index := self._bag.take()) is not None:
            composed = self._composer.compose(self._bag.messages[index], self._session.features)
            if not isinstance(composed, Rejected):
                return _Job(index, composed)
            self._bag.settle(index, composed)
        return None

    def _current(self) -> _Job:
        assert self._job is not None, "there is no mail to speak of"
        return self._job

    def _exchange(self, line: bytes, then: Callable[[], None]) -> None:
        self._connection.write(line)
        self._expect(1, then, self._account.reply_timeout_seconds)

    def _replies(self, count: int) -> list[Reply]:
        """Up to `count` replies that have come."""
        waiting = self._connection.replies
        return [waiting.popleft() for _ in range(count) if waiting]

    def _is_over(self) -> bool:
        return self._leaving or self._connection.end is not None

    def _give_back(self, job: _Job) -> None:
        end = self._connection.end
        why = end.value if end else "the mail server is closing the connection"
        outcome = Deferred(Reason.PROVIDER_UNAVAILABLE, f"before the mail was handed over, {why}")
        self._bag.back(job.index, outcome, fresh=not self._session.mails)
