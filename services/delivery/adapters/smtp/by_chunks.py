"""Texts by BDAT (RFC 3030), if the server offers CHUNKING and PIPELINING: several mails in one write (ADR 0194).

    _ask ──▶ _answered ──yes──▶ _first_answered ──▶ _send_several ⇄ _several_answered
      ▲           └─refused─┐
      └─────────────────────┘

The first mail's envelope is confirmed before its text goes out: an idle connection may be dead, and a mail that the
server never saw must not become unknown. After it, RSET, MAIL, RCPT, BDAT and text of several mails go out together.
The RSET before each separates them: a BDAT without a recipient is refused, and leaves the transaction open.
"""

import time
from collections import deque
from collections.abc import Callable

from services.delivery.adapters.smtp.connection import End
from services.delivery.adapters.smtp.dialogue import TAKEN, Dialogue, Errand, Job
from services.delivery.adapters.smtp.opening import Session
from services.delivery.domain.outcomes import NOT_CALLED
from services.delivery.domain.refusals.smtp import Reply

_RSET = b"RSET\r\n"
_ENVELOPE = ("RSET", "MAIL", "RCPT")
_REPLIES = len(_ENVELOPE) + 1  # and the reply to BDAT
_TOGETHER = 8  # twice as many save nothing more
_TOGETHER_BYTES = 65_536
_QUICK_SECONDS = 0.5  # a slower server gets one at a time, so that each has its full time for a reply
_NOT_KNOWN = frozenset({500, 501, 502, 503, 504})  # about the command, not about the mail (RFC 5321 §4.2.2)


class ByChunks(Dialogue):
    """See the module."""

    def __init__(self, session: Session, errand: Errand) -> None:
        super().__init__(session, errand)
        self._under_way: deque[Job] = deque()  # sent to the server, completely or as an envelope, and not yet answered
        self._since = 0.0  # when they were sent

    def _start(self) -> None:
        self._ask()

    # ---- the first mail

    def _ask(self) -> None:
        job = None if self._is_over() else self._next()
        if job is None:
            self._end()
            return
        self._under_way.append(job)
        self._connection.write(_RSET + job.mail.envelope)
        self._expect(len(_ENVELOPE), self._answered, self._account.reply_timeout_seconds, each=True)

    def _answered(self) -> None:
        """Hand over the text if the server accepts the envelope; else the mail is settled or back in the bag."""
        job, replies = self._under_way.popleft(), self._replies(len(_ENVELOPE))
        if self._was_refused(job, replies):
            if self._pool.may_go_on(self._session):
                self._ask()
            else:
                self._end()
            return
        if self._has_said_too_much():
            replies = []
        if len(replies) < len(_ENVELOPE):
            self._give_back(job)
            self._end()
        elif self._bag.is_late():
            self._bag.settle(job.index, NOT_CALLED)
            self._connection.close()
            self._end()
        else:
            self._under_way.append(job)
            self._session.mails += 1
            self._hand_over([_bdat(job), job.mail.text], 1, self._first_answered)

    def _first_answered(self) -> None:
        job, replies = self._under_way.popleft(), self._replies(1)
        if replies and replies[0].code in _NOT_KNOWN:
            self._pool.give_up_chunks(f"BDAT was answered {replies[0].code} {replies[0].text}")
            self._connection.close(End.NONSENSE)  # the server takes the text for commands
            self._give_back(job)
            self._end()
        else:
            self._handed_over(job, replies[0] if replies else None)
            self._send_several()

    # ---- several

    def _send_several(self) -> None:
        """Fill one write, or come to the end."""
        if self._has_said_too_much() or self._is_over():
            self._end()
            return
        most = _TOGETHER if time.monotonic() - self._since < _QUICK_SECONDS else 1
        pieces: list[bytes] = []
        size = 0
        while len(self._under_way) < most and size < _TOGETHER_BYTES and self._pool.may_go_on(self._session):
            if (job := self._next()) is None:
                break
            self._under_way.append(job)
            self._session.mails += 1
            pieces += (_RSET, job.mail.envelope, _bdat(job), job.mail.text)
            size += len(job.mail.text)
        if pieces:
            self._hand_over(pieces, _REPLIES, self._several_answered)
        else:
            self._end()

    def _several_answered(self) -> None:
        """Settle the mails with complete replies; start the next write when all are settled."""
        waiting = self._connection.replies
        while self._under_way and len(waiting) >= _REPLIES:
            job, replies = self._under_way.popleft(), self._replies(_REPLIES)
            if not self._was_refused(job, replies):
                self._handed_over(job, replies[-1])
        if not self._under_way:
            self._send_several()
        elif self._connection.end is None:
            left = self._since + self._account.timeout_seconds - time.monotonic()
            self._expect(_REPLIES, self._several_answered, max(left, 0.0))
        else:
            self._break_off()

    def _break_off(self) -> None:
        """The connection has ended. Mails without a reply are unknown, but a server that said 421 accepts nothing."""
        while self._under_way:
            job, replies = self._under_way.popleft(), self._replies(_REPLIES)
            if self._was_refused(job, replies):
                continue
            if self._leaving:
                self._give_back(job)
            else:
                self._pool.give_up_chunks("the connection broke with several mails on their way")
                self._handed_over(job, None)
        self._end()

    # ---- inside

    def _hand_over(self, pieces: list[bytes], replies: int, then: Callable[[], None]) -> None:
        self._since = time.monotonic()
        self._connection.write(b"".join(pieces))
        self._expect(replies, then, self._account.timeout_seconds)

    def _was_refused(self, job: Job, replies: list[Reply]) -> bool:
        """Settle a mail whose envelope was refused, whatever the reply to its text: it had no recipient."""
        for command, reply in zip(_ENVELOPE, replies, strict=False):
            if reply.code not in TAKEN and (command != "RSET" or reply.code == 421):
                self._refused(job, reply, command)
                return True
        return False


def _bdat(job: Job) -> bytes:
    return b"BDAT %d LAST\r\n" % len(job.mail.text)
