"""Texts by DATA (RFC 5321), in as few packets as the server allows.

With PIPELINING (RFC 2920), MAIL, RCPT and DATA go out together, and those of the next mail together with the end of
the previous text: one write and one read per mail. A text goes out once the server has accepted all three.

    _offer ─▶ _answered ─354─▶ _hand_over ─▶ _taken ─▶ _go_on_with the next
                  └─refused─▶ _start_over ─▶ _started_over ─┘
"""

from collections.abc import Callable

from services.delivery.adapters.smtp.dialogue import TAKEN, Dialogue, Errand, Job
from services.delivery.adapters.smtp.opening import Session
from services.delivery.domain.outcomes import NOT_CALLED
from services.delivery.domain.refusals.smtp import Reply

_COMMANDS = ("MAIL", "RCPT", "DATA")
_GO_ON = (TAKEN, TAKEN, frozenset({354}))  # the codes that accept each command
_DATA = b"DATA\r\n"


class ByData(Dialogue):
    """See the module."""

    def __init__(self, session: Session, errand: Errand) -> None:
        super().__init__(session, errand)
        self._pipelining = session.features.pipelining
        self._job: Job | None = None  # the mail whose envelope or text the server has
        self._following: Job | None = None
        self._said: list[Reply] = []  # replies to its commands, if they are sent one by one

    def _start(self) -> None:
        job = self._next()
        if job is not None and self._pipelining:
            self._connection.write(job.mail.envelope + _DATA)
        self._go_on_with(job)

    def _go_on_with(self, job: Job | None) -> None:
        """Start the next mail, if there is one and the server still accepts."""
        if job is not None and not self._is_over():
            self._offer(job)
            return
        if job is not None:
            self._give_back(job)
        self._end()

    # ---- the envelope

    def _offer(self, job: Job) -> None:
        """Ask whether the server accepts this mail; with pipelining this has been sent already."""
        self._job = job
        if self._pipelining:
            self._expect(len(_COMMANDS), self._answered, self._account.reply_timeout_seconds, each=True)
        else:
            self._said = []
            self._ask_next()

    def _ask_next(self) -> None:
        lines = (self._current().mail.envelope + _DATA).splitlines(keepends=True)
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
        """Hand over the text if the server waits for it; else the mail is settled or back in the bag."""
        job = self._current()
        for place, reply in enumerate(replies):
            if reply.code not in _GO_ON[place]:
                self._refused(job, reply, _COMMANDS[place])
                if len(replies) == len(_COMMANDS) and replies[2].code == 354:
                    # it accepted DATA without a recipient (RFC 2920 §3.1): give it an empty text
                    self._exchange(b".\r\n", self._given_nothing)
                else:
                    self._start_over()
                return
        if self._has_said_too_much():
            replies = []
        if len(replies) < len(_COMMANDS):
            self._give_back(job)
            self._start_over()
        elif self._bag.is_late():
            # once DATA has been sent, only closing takes it back
            self._bag.settle(job.index, NOT_CALLED)
            self._connection.close()
            self._start_over()
        else:
            self._hand_over(job)

    def _given_nothing(self) -> None:
        self._replies(1)
        self._start_over()

    def _start_over(self) -> None:
        """After a refusal: RSET, followed by the next mail's envelope if possible."""
        if self._is_over():
            self._go_on_with(None)
            return
        self._exchange(b"RSET\r\n" + self._prefetch(), self._started_over)

    def _started_over(self) -> None:
        replies = self._replies(1)
        if not replies or replies[0].code == 421:
            self._leaving = True
        self._go_on_with(self._following)

    # ---- the text

    def _hand_over(self, job: Job) -> None:
        """Send the text, followed by the next mail's envelope."""
        self._session.mails += 1
        self._connection.write(stuffed(job.mail.text) + b".\r\n" + self._prefetch())
        self._expect(1, self._taken, self._account.timeout_seconds)

    def _taken(self) -> None:
        replies = self._replies(1)
        self._handed_over(self._current(), replies[0] if replies else None)
        self._go_on_with(self._following)

    # ---- inside

    def _prefetch(self) -> bytes:
        """Take the next mail and return what can already be sent of it."""
        self._following = following = self._next() if self._pool.may_go_on(self._session) else None
        return following.mail.envelope + _DATA if following is not None and self._pipelining else b""

    def _current(self) -> Job:
        assert self._job is not None, "there is no mail to speak of"
        return self._job

    def _exchange(self, line: bytes, then: Callable[[], None]) -> None:
        self._connection.write(line)
        self._expect(1, then, self._account.reply_timeout_seconds)


def stuffed(text: bytes) -> bytes:
    """Double a dot at the start of a line (RFC 5321 §4.5.2); the first line is a header."""
    return text.replace(b"\r\n.", b"\r\n..") if b"\r\n." in text else text
