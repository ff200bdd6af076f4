"""Mail after mail over one connection (RFC 5321), in as few packets as the server allows.

With PIPELINING (RFC 2920) MAIL, RCPT and DATA go out together, and those of the next mail together with the
end of the text before: one write and one read per mail. The line between *not sent* and *nobody knows* is
the final dot: before it the server has nothing, after it only its reply can tell.
"""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    mail: Mail

    @property
    def envelope(self) -> bytes:
        return self.mail.sender + self.mail.recipient + b"DATA\r\n"


class Dialogue:
    """Takes mails out of the bag until it is empty, late, or the connection has had its share."""

    def __init__(self, session: Session, account: SmtpAccount, composer: Composer, bag: Bag) -> None:
        self._session = session
        self._connection = session.connection
        self._account = account
        self._composer = composer
        self._bag = bag
        self._leaving = False  # the server said 421: it closes

    async def run(self, may_go_on: Callable[[int], bool]) -> bool:
        """Work; `may_go_on` is asked before each mail with the number done. True: the connection is clean."""
        done = 0
        job = self._next()
        if job is not None and self._session.features.pipelining:
            self._connection.write(job.envelope)
        while job is not None:
            if await self._offer(job):
                following = await self._hand_over(job, may_go_on(done + 1))
                done += 1
            else:
                following = await self._start_over(may_go_on(done))
            if self._is_over():
                if following is not None:
                    self._give_back(following)
                return False
            job = following
        return not self._is_over()

    # ---- the envelope

    async def _offer(self, job: _Job) -> bool:
        """Whether the server waits for the text now. If not, the mail is settled or back in the bag."""
        if self._session.features.pipelining:
            await self._connection.wait(len(_COMMANDS), self._account.reply_timeout_seconds)
            replies = self._replies(len(_COMMANDS))
        else:
            replies = await self._step_by_step(job)
        for command, reply in zip(_COMMANDS, replies, strict=False):
            if not _goes_on(command, reply):
                self._refused(job, reply, command)
                if len(replies) == len(_COMMANDS) and replies[2].code == 354:
                    # it took DATA although it has no recipient (RFC 2920 §3.1): give it nothing
                    await self._exchange(b".\r\n")
                return False
        if len(replies) < len(_COMMANDS):
            self._give_back(job)
            return False
        if self._bag.is_late():
            # once DATA has been said, only closing takes it back
            self._bag.settle(job.index, NOT_CALLED)
            self._connection.close()
            return False
        return True

    async def _step_by_step(self, job: _Job) -> list[Reply]:
        replies: list[Reply] = []
        for command, line in zip(_COMMANDS, (job.mail.sender, job.mail.recipient, b"DATA\r\n"), strict=True):
            reply = await self._exchange(line)
            if reply is None:
                break
            replies.append(reply)
            if not _goes_on(command, reply):
                break
        return replies

    def _refused(self, job: _Job, reply: Reply, command: str) -> None:
        outcome = sort_reply(reply, command)
        if reply.code == 421:
            self._leaving = True
            if self._session.mails and isinstance(outcome, Deferred):
                # it has taken mails here before: enough for this connection, not for us
                self._bag.back(job.index, outcome, fresh=False)
                return
        self._bag.settle(job.index, outcome)

    async def _start_over(self, may_go_on: bool) -> _Job | None:
        """After a refusal: RSET, and the next mail's envelope behind it where it may be."""
        if self._is_over():
            return None
        job = self._next() if may_go_on else None
        envelope = job.envelope if job is not None and self._session.features.pipelining else b""
        reply = await self._exchange(b"RSET\r\n" + envelope)
        if reply is None or reply.code == 421:
            self._leaving = True
        return job

    # ---- the text

    async def _hand_over(self, job: _Job, may_go_on: bool) -> _Job | None:
        """Send the text and settle the mail. Gives the next one, its envelope already on the way."""
        following = self._next() if may_go_on else None
        pipelined = following is not None and self._session.features.pipelining
        self._connection.write(job.mail.data + following.envelope if following and pipelined else job.mail.data)
        await self._connection.wait(1, self._account.timeout_seconds)
        self._session.mails += 1
        replies = self._replies(1)
        self._bag.settle(job.index, self._judge(replies[0] if replies else None))
        if replies and replies[0].code == 421:
            self._leaving = True
        return following

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

    async def _exchange(self, line: bytes) -> Reply | None:
        self._connection.write(line)
        await self._connection.wait(1, self._account.reply_timeout_seconds)
        replies = self._replies(1)
        return replies[0] if replies else None

    def _replies(self, count: int) -> list[Reply]:
        """Up to `count` replies that have come."""
        waiting = self._connection.replies
        return [waiting.popleft() for _ in range(min(count, len(waiting)))]

    def _is_over(self) -> bool:
        return self._leaving or self._connection.end is not None

    def _give_back(self, job: _Job) -> None:
        end = self._connection.end
        why = end.value if end else "the mail server is closing the connection"
        outcome = Deferred(Reason.PROVIDER_UNAVAILABLE, f"before the mail was handed over, {why}")
        self._bag.back(job.index, outcome, fresh=not self._session.mails)


def _goes_on(command: str, reply: Reply) -> bool:
    return reply.code == 354 if command == "DATA" else reply.code in (250, 251, 252)
