"""Owns the first reading of a mail: cut before the returned message, then parsed only as far as needed.

A standard report says all in its status part, which is found in the bytes: no MIME tree is built for it. If more is
needed, fast-mail-parser parses well-formed mails, in Rust; if it gives up, or finds no parts in what calls itself
multipart, our own tolerant parser (`mime.py`) takes over. Nothing raises, for any input.
"""

import re
from collections.abc import Mapping
from functools import cached_property

import fast_mail_parser
from fast_mail_parser import ParseError, PyLazyMimePart

from services.bounce.domain import mime
from services.bounce.domain.mime import MAX_BYTES, MAX_DEPTH, MAX_HEAD, MAX_PARTS, Headers, Part

_AS_MOST_WRITE_IT = b"message/rfc822"
# types of returned mails, grouped by a common substring: most mails contain none of a group
_RETURNED = (
    (b"/rfc822", (b"message/rfc822", b"text/rfc822-headers")),
    (b"message/global", (b"message/global\n", b"message/global\r", b"message/global-headers")),
)
_ENCODING = re.compile(rb"^content-transfer-encoding:[ \t]*(base64|quoted-printable)", re.I | re.M)
_REPORT = re.compile(rb"^content-type:\s{0,20}multipart/report", re.M)
_FROM_SERVER = re.compile(rb"^from:[^\n]{0,500}(?:mailer-daemon|postmaster@|mail delivery s)", re.M)
_HEAD = re.compile(rb"(?:[^\s:]{1,200}:[^\n]*(?:\n[ \t][^\n]*)*+(?:\n|\Z))++")  # only headers
_WANTED = re.compile(
    rb"^(return-path|errors-to|sender|to|x-hmxmroriginalrecipient):[ \t]*([^\n]{0,1000}(?:\n[ \t][^\n]{0,1000}){0,9})",
    re.I | re.M,
)
_ENDS_LINE = (b"\n", b"\r", b" ", b"\t", b"")
MAX_RETURNED = 16 * 1024
_MOST_TYPES = 20
_MOST_ENCODED = 200


class Mail:
    """The bytes that the server wrote, and `returned`, the head of the returned message, undecoded."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self._lower, self._sent_back = _cut(mime.normal(raw[:MAX_BYTES]))

    @property
    def returned(self) -> bytes:
        """The head of the returned message, decoded; empty if there is none."""
        return self._decoded(2 * MAX_RETURNED)[:MAX_RETURNED]

    @property
    def inside(self) -> bytes | None:
        """A report forwarded as an attachment: the returned mail, or a file, if it is a report itself, or if the mail
        around it is from no mail server, while it is, or forwards a report.

        A spam filter puts the mail into one of its own that has the same From."""
        body = self._decoded(MAX_BYTES) or self._file
        if not body:
            return None
        head = body[: _blank_line(body[:MAX_RETURNED])[0]].lower()
        if _REPORT.search(head):
            return body
        by_server, own = bool(_FROM_SERVER.search(head)), self._lower[: _blank_line(self.raw)[0]][:MAX_HEAD]
        if _FROM_SERVER.search(own):
            return body if by_server and self._is_spam_filters(own) else None
        return body if by_server or b"message/delivery-status" in body.lower() else None

    @property
    def _file(self) -> bytes:
        """A mail attached as a file of no special type."""
        if not self.has(b"content-type: application/"):
            return b""
        files = (part.content for part in self.parts if part.type.startswith("application/") and part.is_mail)
        return next(files, b"")

    def _is_spam_filters(self, head: bytes) -> bool:
        return b"\nx-spam-flag: yes" in head or b"x-spam-type=original" in self._sent_back[0].lower()

    def _decoded(self, most: int) -> bytes:
        """Return the returned message without its transfer encoding, of which at most so many bytes are read."""
        head, body = self._sent_back
        encoding = _ENCODING.search(head) if head else None
        return mime.decoded(body[:most], encoding[1].decode()) if encoding else body

    @cached_property
    def headers(self) -> Headers:
        head = self.raw[: _blank_line(self.raw)[0]]
        return mime.parse_headers(mime.to_text(head[:MAX_HEAD], {}))

    @cached_property
    def returned_headers(self) -> Headers:
        """The returned mail's headers that say where it was sent."""
        returned = self.returned
        head = returned[: _blank_line(returned)[0]].replace(b"\r\n", b"\n")
        found = _WANTED.findall(head)
        return Headers([(name.decode().lower(), mime.unfolded(mime.to_text(value, {}))) for name, value in found])

    @cached_property
    def parts(self) -> list[Part]:
        """The leaves, in order."""
        head, body = _blank_line(self.raw)
        if (
            self.type[0] == "text/plain"
            and not self.headers.get("content-transfer-encoding")
            and _HEAD.fullmatch(self.raw, 0, min(head, MAX_HEAD))
        ):
            return [Part(*self.type, self.headers, self.raw[body:])]  # it has no structure to parse
        return _quickly(self.raw) or mime.parse(self.raw)[1]

    @cached_property
    def type(self) -> tuple[str, Mapping[str, str]]:
        """The mail's own type and its parameters."""
        return mime.content_type(self.headers.get("content-type"))

    def has(self, needle: bytes) -> bool:
        """Whether these bytes, in lower case, occur in it."""
        return needle in self._lower

    def plain_parts(self, kinds: tuple[bytes, ...]) -> list[str]:
        """Return the texts of parts of these types, without building a tree; none if one of them is encoded."""
        texts: list[str] = []
        for kind in kinds:
            at = self._lower.find(kind)
            while at >= 0 and len(texts) < MAX_PARTS:
                begin = self._lower.rfind(b"\n--", 0, at)
                head, body = _blank_line(self.raw, at)
                if begin < 0 or head == body or self._lower.find(b"content-transfer-encoding", begin, head) >= 0:
                    return []
                end = self.raw.find(b"\n--", body - 1)
                glued = self._lower.find(b"-recipient:", begin, head) >= 0  # the blank line above the fields was lost
                texts.append(mime.to_text(self.raw[at if glued else body : end if end >= 0 else None], {}))
                at = self._lower.find(kind, body)
        return texts


def _cut(raw: bytes) -> tuple[bytes, bytes, tuple[bytes, bytes]]:
    """Return the server's own bytes, also in lower case; and the headers and the body of the returned mail's part.

    Only a part of a multipart counts: between the last boundary and the type there is no blank line. The bytes after
    that part are the server's own again.
    """
    first = _part_before(raw, _AS_MOST_WRITE_IT, len(raw))  # other spellings could only be before that
    lower = raw[: first + 1].lower()
    for common, kinds in _RETURNED:
        if lower.find(common, 0, first) >= 0:
            for kind in kinds:
                first = _part_before(lower, kind, first)
    if first == len(raw):
        return raw, lower, (b"", b"")
    head, begins = _blank_line(raw, first + 1)
    mark = raw[first : raw.find(b"\n", first + 1)].rstrip()
    end = _line_at(raw, mark, begins - 1) if begins < len(raw) else -1
    rest = raw[end + 1 :] if end >= 0 else b""
    sent_back = raw[first:head], raw[begins : end if end >= 0 else None]
    return raw[: first + 1] + rest, lower[: first + 1] + rest.lower(), sent_back


def _line_at(raw: bytes, mark: bytes, begin: int) -> int:
    """Return where the boundary is next, -1 if nowhere; a boundary in the returned mail may begin like it."""
    at, tries = raw.find(mark, begin), 0
    while at >= 0 and tries < MAX_PARTS:
        after = raw[at + len(mark) : at + len(mark) + 2]
        if after[:1] in _ENDS_LINE or after == b"--":
            return at
        at, tries = raw.find(mark, at + 1), tries + 1
    return at


def _part_before(text: bytes, kind: bytes, end: int) -> int:
    """Return where the first part of this type begins, if it does before `end`; else `end`."""
    at, tries = text.find(kind, 0, end), 0
    while at >= 0 and tries < _MOST_TYPES:
        begin = text.rfind(b"\n--", 0, at)
        if begin >= 0 and text.find(b"\n\n", begin, at) < 0 and text.find(b"\r\n\r\n", begin, at) < 0:
            return begin
        at, tries = text.find(kind, at + 1, end), tries + 1
    return end


def _blank_line(raw: bytes, begin: int = 0) -> tuple[int, int]:
    """Return where the first blank line begins and where the text after it does; the end for both if there is none."""
    at = raw.find(b"\n\n", begin)
    crlf = raw.find(b"\n\r\n", begin, at if at >= 0 else len(raw))
    if crlf >= 0:
        return (crlf - 1 if raw[crlf - 1 : crlf] == b"\r" else crlf), crlf + 3
    if at >= 0:
        return (at - 1 if at > begin and raw[at - 1 : at] == b"\r" else at), at + 2
    return len(raw), len(raw)


def _quickly(raw: bytes) -> list[Part] | None:
    if raw.count(b"\n--") > 4 * MAX_PARTS or raw.count(b"=?") > _MOST_ENCODED or _head_is_long(raw):
        return None  # it is not linear for these
    try:
        tree = fast_mail_parser.parse_email_tree(raw, mode="lazy")
        parts: list[Part] = []
        _leaves(tree, 0, parts)
    except (ParseError, ValueError):
        return None
    return parts if parts and tree.headers else None


def _head_is_long(raw: bytes) -> bool:
    return len(raw) > MAX_HEAD and _blank_line(raw[:MAX_HEAD])[1] == MAX_HEAD


def _leaves(node: PyLazyMimePart, depth: int, parts: list[Part]) -> None:
    if len(parts) >= MAX_PARTS or depth > MAX_DEPTH:
        return
    if node.is_message or not node.children:
        if not node.content_type.startswith("multipart/"):
            parts.append(_part(node, node.content or b""))
        return
    for child in node.children[:MAX_PARTS]:
        _leaves(child, depth + 1, parts)


def _part(node: PyLazyMimePart, body: bytes) -> Part:
    headers = Headers([(name.lower(), value) for name, values in node.headers.items() for value in values])
    kind, parameters = mime.content_type(headers.get("content-type"))
    return Part(kind, parameters, headers, body, is_decoded=True)
