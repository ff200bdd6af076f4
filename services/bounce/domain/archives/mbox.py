"""Owns mbox (RFC 4155 and its relatives): concatenated mails, each after a line that begins with `From `.

Such a line counts if it follows a blank line or nothing, and ends as one: with a date, or after an address. Some
programs (Eudora, mboxcl) leave the blank line out: then the whole date of asctime and a header must follow. A mail's
own lines are quoted, by one `>` (mboxo) or by one more `>` than they have (mboxrd, which is undone here: mboxo files
lose a `>` where a line began with `>From `). Lines end in LF or CRLF.
"""

import re
from collections.abc import Iterator

from services.bounce.domain.archives.parts import Allowance, Bounds, Found, Refused, Unreadable

# every date that programs write there has a time; without a date, an address is required
_FROM = rb"From (?:[^\r\n]{0,200}?\d:\d\d[^\r\n]{0,200}|[^\s@]{0,320}@[^\s@]{1,320}[ \t]*)\r?\n"
_FIRST = re.compile(rb"(?:\r?\n)*(From [^\r\n]{0,2000}\r?\n)")
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]?\d \d\d:\d\d:\d\d"
_FROM_WHOLE = rb"From [^\s]{1,320} {1,4}" + _DAY + rb"[^\r\n]{0,40}\r?\n[A-Za-z][\w-]{0,60}:[ \t\r\n]"
_NEXT = re.compile(rb"\n(?:\r?\n(?=" + _FROM + rb")|(?=" + _FROM_WHOLE + rb"))")
_LAST_BLANK = re.compile(rb"\n\r?\n\Z")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_LONGEST_LINE = 2_048  # of the line that begins a mail


def is_mbox(raw: bytes) -> bool:
    """Whether these bytes are an mbox of several mails."""
    return raw.startswith(b"From ") and _FIRST.match(raw) is not None and _NEXT.search(raw) is not None


class Mbox:
    """A push parser; see `Archive`."""

    def __init__(self, bounds: Bounds) -> None:
        self._allowance = Allowance(bounds)
        self._bounds = bounds
        self._buffer = bytearray()  # inside a mail: from the end of its first line on
        self._looked = 0  # no mail begins before this
        self._number = 0  # of the current mail
        self._too_large = False

    def feed(self, piece: bytes) -> Iterator[Found | Refused]:
        self._buffer += piece
        if not self._number:
            self._begin(at_end=False)
        if self._number:
            yield from self._complete()
            self._forget_what_is_too_large()

    def finish(self) -> Iterator[Found | Refused]:
        if not self._number:
            self._begin(at_end=True)
        yield from self._complete()
        # neither the blank line before the next mail nor the one at the end belongs to the mail: repeats stay equal
        yield self._mail(_LAST_BLANK.sub(b"\n", bytes(self._buffer[1:])))

    def _begin(self, *, at_end: bool) -> None:
        """Find the very first line; without it this is not an mbox."""
        first = _FIRST.match(self._buffer)
        if first is None:
            if at_end or len(self._buffer) > _LONGEST_LINE:
                raise Unreadable("It is not an mbox, which begins with a line `From address date`.")
            return
        del self._buffer[: first.end() - 1]
        self._number = self._allowance.begin()

    def _complete(self) -> Iterator[Found | Refused]:
        """Yield the mails that another one follows."""
        start = 0
        while (found := _NEXT.search(self._buffer, max(start, self._looked))) is not None:
            yield self._mail(bytes(self._buffer[start + 1 : found.start() + 1]))
            start = self._looked = self._buffer.index(b"\n", found.end())
            self._number = self._allowance.begin()
        del self._buffer[:start]
        self._looked = max(0, len(self._buffer) - _LONGEST_LINE)

    def _forget_what_is_too_large(self) -> None:
        if len(self._buffer) > self._bounds.mail_bytes + _LONGEST_LINE:
            self._too_large = True
            self._allowance.take(len(self._buffer) - _LONGEST_LINE)
            del self._buffer[:-_LONGEST_LINE]
            self._looked = 0

    def _mail(self, raw: bytes) -> Found | Refused:
        name, was_too_large = f"mail {self._number}", self._too_large
        self._too_large = False
        self._allowance.take(len(raw))
        if was_too_large or len(raw) > self._bounds.mail_bytes:
            return self._allowance.too_large(name)
        return self._allowance.checked(name, _QUOTED.sub(rb"\1", raw))
