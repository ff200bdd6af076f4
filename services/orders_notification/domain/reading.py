"""A delivery's body as expressions see it: exact JSON, JSON lines, or a form's fields, in the sender's charset.

UTF-8 is tried first: many senders who declare another charset send UTF-8 all the same. If it fails, the content type's
charset is used, or the one that a form names in itself (PayPal does).
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from libs import exact_json
from libs.errors import BadRequest, Invalid
from services.orders_notification.domain.cloudevents import is_json
from services.orders_notification.domain.delivery import Delivery

MAX_EVENTS_PER_DELIVERY = 1_000
_MAX_FORM_FIELDS = 1_000
_MAX_HEAD = 2_000
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_NO_FORM = (b"{", b"[")  # PHP's curl calls a body a form unless told otherwise; a form escapes these
LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Python has many codecs that no body uses as its charset
_CHARSETS = frozenset(
    "utf-8 utf-16 utf-16-le utf-16-be ascii iso8859-1 iso8859-2 iso8859-9 iso8859-15 cp1250 cp1251 cp1252 cp1254 "
    "koi8-r shift_jis euc_jp gbk gb2312 gb18030 big5 euc_kr".split()
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_BOUNDARY = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,100})"|([^\s;,"]{1,100}))""", re.IGNORECASE)
_FIELD_NAME = re.compile(r"""form-data\s*;.*?\bname\s*=\s*"((?:[^"\\]|\\.){0,200})\"""", re.IGNORECASE | re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<unstorable>u0000|u[dD][89a-fA-F]..)|.)",
    re.DOTALL,
)
_FILE = re.compile(r"\bfilename\*?\s*=", re.IGNORECASE)


class Unmappable(Invalid):
    """The delivery is genuine, but the mapping could not make an event of it. Stored, and replayed once it is fixed."""

    slug = "unmappable"
    title = "The mapping could not make an event of it"


def read_body(delivery: Delivery) -> Any:
    """Return the body as expressions see it. Raises Unmappable."""
    content_type = delivery.headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    if media == _FORM and not delivery.body.startswith(_NO_FORM):
        return _form(_pairs(delivery.body, content_type))
    if media == _MULTIPART:
        return _form(_parts(delivery.body, content_type))
    try:
        if media in LINES:
            return _lines(delivery.body)
        return json_of(_utf_8(delivery.body, content_type) or b"null")  # a compacted topic's tombstone
    except BadRequest as error:
        known = not content_type or is_json(content_type) or media in {*LINES, _FORM}
        told = "" if known else f"The content type {content_type[:80]!r} is neither JSON nor a form. "
        raise Unmappable(told + error.detail, pointer="") from error


def _lines(body: bytes) -> list[Any]:
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > MAX_EVENTS_PER_DELIVERY:
        raise Unmappable(f"The delivery contains more than {MAX_EVENTS_PER_DELIVERY} events.", pointer="")
    return [json_of(line) for line in lines]


def json_of(text: bytes) -> Any:
    """Parse a shop's JSON; half of a surrogate pair, and U+0000, become U+FFFD. Raises BadRequest.

    JavaScript writes half a pair where it cut a text inside an emoji. No database stores these characters, and nobody
    can repair an order that was sent already.
    """
    try:
        return exact_json.loads(text)
    except BadRequest:
        repaired = _ESCAPE.sub(lambda found: rb"\ufffd" if found["unstorable"] else found[0], text)
        if repaired == text:
            raise
        return exact_json.loads(repaired)


def _utf_8(body: bytes, content_type: str) -> bytes:
    """Return a JSON body in UTF-8; unchanged if its charset does not help."""
    charset = _charset(content_type)
    wide = body.startswith(_UTF_16) or (charset.startswith("utf-16") and b"\0" in body)
    try:
        if wide:
            return body.decode(charset if charset.startswith("utf-16") else "utf-16").encode()
        body.decode()
    except UnicodeError:
        if charset and not wide:
            return body.decode(charset, "replace").encode()
    return body


def _charset(content_type: str) -> str:
    """Return the codec of the declared charset; empty for none, or an unsupported one."""
    found = _CHARSET.search(content_type)
    return "" if found is None else _known(found[1])


def _known(name: str) -> str:
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return ""
    return codec if codec in _CHARSETS else ""


def _pairs(body: bytes, content_type: str) -> Iterable[tuple[str, str]]:
    charsets = [_charset(content_type), _named_in(body)]
    for charset in ["utf-8", *filter(None, charsets)]:
        try:
            return parse_qsl(
                body.decode(charset),
                keep_blank_values=True,
                max_num_fields=_MAX_FORM_FIELDS,
                encoding=charset,
                errors="strict",
            )
        except UnicodeError:
            continue
        except ValueError as error:
            raise Unmappable(f"The form has more than {_MAX_FORM_FIELDS} fields.", pointer="") from error
    raise Unmappable("The form is not UTF-8, nor in a charset that it names.", pointer="")


def _named_in(body: bytes) -> str:
    found = re.search(rb"(?:^|&)_?charset_?=([^&]{1,60})", body)
    return "" if found is None else _known(unquote_to_bytes(found[1]).decode("latin-1"))


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of multipart/form-data (RFC 7578); files are skipped."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Unmappable("The form's content type names no boundary.", pointer="")
    pieces = (b"\r\n" + body).split(b"\r\n--" + (boundary[1] or boundary[2]).encode())
    if len(pieces) < 3 or len(pieces) > _MAX_FORM_FIELDS or not pieces[-1].startswith(b"--"):
        told = f"The form does not match its boundary, or has more than {_MAX_FORM_FIELDS} fields."
        raise Unmappable(told, pointer="")
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        written = head[:_MAX_HEAD].decode("utf-8", "replace")
        named = _FIELD_NAME.search(written)
        if named is None or _FILE.search(written):
            continue
        charset = _charset(written) or _charset(content_type) or "utf-8"
        try:
            yield named[1].replace('\\"', '"'), content.decode(charset)
        except UnicodeError as error:
            raise Unmappable(f"The form's field {named[1][:40]!r} is not in {charset}.", pointer="") from error


def _form(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise Unmappable("The form contains the character U+0000, which cannot be stored.", pointer="")
        held = fields.get(name)
        fields[name] = value if held is None else [*held, value] if isinstance(held, list) else [held, value]
    return fields
