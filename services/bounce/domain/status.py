"""Owns the fields of delivery status reports: RFC 3464 and 6533, also in reports that lost their MIME type."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from textwrap import dedent
from typing import NamedTuple

from services.bounce.domain.mime import Part, decode_words, header_lines, unfolded
from services.bounce.domain.reading import Mail
from services.bounce.domain.told import ADDRESS, host_in, without_host
from services.bounce.domain.wrapped import unwrapped

MAX_RECIPIENTS = 100
MAX_TEXT = 4_000

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status", "message/xdelivery-status"})
_FIELDS = re.compile(r"^(?:final-recipient|original-recipient|action|status|diagnostic-code)[ \t]*:", re.I | re.M)
_STATUS_KINDS = (b"message/delivery-status", b"message/global-delivery-status")
# what a mail with fields contains; encoded fields cannot be recognised
_SIGNS = (b"delivery-status", b"final-recipient", b"diagnostic", b"content-type: application/")
_LONGEST_FIELDS = 64 * 1024  # bytes
_WORD = re.compile(r"[a-zA-Z-]{1,30}")
_RECIPIENT = frozenset({"final-recipient", "original-recipient"})
_PER_RECIPIENT = frozenset({"final-recipient", "action", "status", "diagnostic-code"})
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_ENOUGH = 2  # fields; with fewer, it is the block about the message
_INDENTS = (" ", "\t")
_BLANK = re.compile(r"\n[ \t]*\n")
_LONGEST_TYPE = 30  # characters
_UNTYPED = re.compile(rf"\s*[\w.-]{{1,{_LONGEST_TYPE}}}\s*;\s*")
_ADDRESS = re.compile(ADDRESS)
# surrogates are not characters
_UTF8_XTEXT = re.compile(r"\\x\{((?!D[89A-F]..\})(?:10|[1-9A-F])?[0-9A-F]{2,4})\}", re.I)
_QUOTED = re.compile(r'"([\w.!#$%&\'*+/=?^`{|}~-]{1,64})"@')
_IN_QUOTES = re.compile(r'"[^"\n]{1,64}"@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}')
# the lookbehind follows the first digit of a code, so that the search runs from digit to digit
_REPLY = re.compile(r"([245](?<![\d.].)\d\d)(?=[ \-#(:,;.\]]|$|(?<=\(...)\))(?!\.\d)")
_ENHANCED = re.compile(r"([245](?<![\d.].)\.\d{1,3}\.\d{1,3})(?![\d.]*\.\d)")
_UNFOLDED = re.compile(r"\n(?=[245]\d\d[ -])")  # the further lines of a reply, copied without folding
_XTEXT = re.compile(r"\+(2B|3D)")  # the two printable characters that xtext encodes (RFC 3461, 4)
_COMMENT = re.compile(r"\s*[245]\.\d{1,3}\.\d{1,3}\s*\((.{3,300})\)")
_SUPPLEMENT = re.compile(r"<[^\s<>]{1,255} #[\d.]{5,11} \w{1,10}; ?(.{1,3000})>")
_SAYS_NOTHING = re.compile(
    r"permanent|temporary|transient|undefined|other\b|unknown (?:error|status|reason)|fail|error", re.I
)
_SUCCESS = "2"  # the first digit of its codes
_MOST_CODES = 50
_DOTS = 2  # in an enhanced code
_HEAD = 16  # characters, more than both codes and what ends them
_BOTH = re.compile(r"([245]\d\d)[ -]#?([245]\.\d{1,3}\.\d{1,3})(?:[ :]|$)")


_Fields = dict[str, str]  # of one recipient, by name


class Reported(NamedTuple):
    """What a report says about one recipient. `action` is RFC 3464's word; `failed` if it gave none.

    `host`: the remote server that answered; `stage`: the SMTP command that it answered, if the report names it.
    """

    address: str | None
    action: str
    reply_code: int | None
    enhanced: str | None
    text: str
    host: str | None = None
    stage: str | None = None


def codes_in(text: str) -> tuple[int | None, str | None]:
    """Return the first SMTP reply code and the first enhanced code in a text; in a session, those of the refusal."""
    both = _codes_first(text[:_HEAD]) if text[:1].isdigit() else None
    if both is not None:
        return both
    reply = _first(_REPLY, text)
    enhanced = _first(_ENHANCED, text) if text.count(".") >= _DOTS else None
    return (int(reply) if reply else None), enhanced


def _first(expression: re.Pattern[str], text: str) -> str | None:
    found = expression.search(text)
    if found is None or found[1][0] != _SUCCESS:
        return found and found[1]
    later = (other[1] for other in islice(expression.finditer(text, found.end()), _MOST_CODES))
    return next((code for code in later if code[0] != _SUCCESS), found[1])


@lru_cache(maxsize=1_000)
def _codes_first(head: str) -> tuple[int, str] | None:
    both = _BOTH.match(head)
    return (int(both[1]), both[2]) if both else None


def delivery_status(mail: Mail) -> tuple[Reported, ...]:
    """Return what the status part says about each recipient; without one, the fields found in a text."""
    return delivery_statuses([mail])[0]


def delivery_statuses(mails: Sequence[Mail]) -> list[tuple[Reported, ...]]:
    """Return the same for many mails, each step over all of them: see `read_mails`."""
    texts = [_texts(mail) for mail in mails]
    fields = [_fields(some) if some else () for some in texts]
    return [tuple([_reported(one) for one in some]) for some in fields]


def _texts(mail: Mail) -> list[str]:
    texts = mail.plain_parts(_STATUS_KINDS)
    if not texts and any(map(mail.has, _SIGNS)):
        texts = [part.text for part in mail.parts if part.type in STATUS_TYPES] or _loose(mail.parts)
    return texts


def _fields(texts: Sequence[str]) -> Sequence[_Fields]:
    found: list[_Fields] = []
    for text in texts:
        plain = text.replace("\r\n", "\n") if "\r" in text else text
        here: list[_Fields] = []
        for block in _blocks(plain):
            lower = block.lower()  # the block about the message itself has none of these words
            if len(here) < MAX_RECIPIENTS and ("recipient" in lower or "diagnostic" in lower or "status" in lower):
                here += _block(block)
        if not here or not any(map(_RECIPIENT.intersection, here)):
            here = _block(_BLANK.sub("\n", plain)) or here  # blank lines inside
        found += here
    return found[:MAX_RECIPIENTS]


def _blocks(text: str) -> list[str]:
    """Split at blank lines; most of the pieces are empty."""
    return text.split("\n\n") if " \n" not in text and "\t\n" not in text else _BLANK.split(text)


def _loose(parts: list[Part]) -> list[str]:
    """Find the fields without the type: a report that lost its MIME, or whose fields became a file."""
    texts = (part.text for part in parts if part.type.startswith(("text/", "multipart/")) or _is_file_of_fields(part))
    return [text for text in texts if len(_FIELDS.findall(text)) >= 2]


def _is_file_of_fields(part: Part) -> bool:
    """Whether a file may hold them; decoding the text of a picture would take long."""
    is_small_file = part.type.startswith("application/") and len(part.body) <= _LONGEST_FIELDS and not part.is_mail
    return is_small_file and b"recipient" in part.content.lower()


def _block(text: str) -> list[_Fields]:
    """Return one recipient per block; if the blank lines were lost, each Final-Recipient begins the next one."""
    fields: _Fields = {}
    blocks = [fields]
    if text[:1] in _INDENTS:
        text = dedent(text)
    if "\n5" in text or "\n4" in text:
        text = _UNFOLDED.sub("\n ", text)
    for name, value in header_lines(text):
        key = name.lower()
        if key == "final-recipient" and key in fields:
            fields = {}
            blocks.append(fields)
        fields.setdefault(key, value)
    return [one for one in blocks if len(_PER_RECIPIENT & one.keys()) >= _ENOUGH]


def _reported(fields: _Fields) -> Reported:
    said = _untyped(fields.get("diagnostic-code", "")) or _supplement(fields.get("x-supplementary-info", ""))
    diagnostic = unwrapped(said) or _comment(fields.get("status", ""))
    host = _untyped(fields.get("remote-mta", "")).partition(" ")[0] or None
    if " said:" in diagnostic:
        host, diagnostic = host or host_in(diagnostic), without_host(diagnostic)
    status = _ENHANCED.search(fields.get("status", ""))
    enhanced = status[1] if status else None
    reply, inside = codes_in(diagnostic) if diagnostic else (None, None)
    if inside and (enhanced is None or enhanced.endswith(".0.0")):
        enhanced = inside  # 5.0.0 says nothing; the server's own reply often says more
    named = _decoded(fields.get("original-recipient", "")), fields.get("final-recipient", "")
    address = (named[0] and _address(named[0])) or (named[1] and _address(named[1])) or None
    word = _WORD.search(fields.get("action", ""))
    action = word[0].lower() if word else ("delivered" if (enhanced or "").startswith("2") else "failed")
    return Reported(
        address,
        action if action in _ACTIONS else "failed",  # some say `failure`, or `error`
        reply,
        enhanced,
        diagnostic[:MAX_TEXT],
        host,
    )


def _address(value: str) -> str | None:
    """Return the address in a field, without its type; decoded from the ASCII form of RFC 3461 and 6533."""
    if "\\x{" in value:
        value = _UTF8_XTEXT.sub(lambda found: chr(int(found[1], 16)), value)
    if "@" not in value:
        value = value.replace("+40", "@")
    if '"' in value:
        value = _QUOTED.sub(r"\1@", value)
    found = _ADDRESS.search(value) or (_IN_QUOTES.search(value) if '"' in value else None)
    return found[0] if found else None


def _decoded(value: str) -> str:
    """Decode what RFC 3461 encodes in the address that we gave; some servers copy it as it came."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), value) if "+" in value else value


def _comment(status: str) -> str:
    """`5.4.4 (illegal host name)` → `illegal host name`: some say only there what went wrong."""
    found = _COMMENT.match(status) if "(" in status else None
    if found is None or (".0.0" in status[: found.start(1)] and _SAYS_NOTHING.search(found[1])):
        return ""
    return found[1]


def _supplement(value: str) -> str:
    """`<mx.x.example #5.2.2 smtp;552 full>` → `552 full`: Exchange's Edge servers put the reply here."""
    found = _SUPPLEMENT.search(unfolded(value)) if value else None
    return found[1] if found else ""


def _untyped(value: str) -> str:
    """`smtp; 550 no` → `550 no`."""
    value = decode_words(unfolded(value))
    kind, semicolon, rest = value.partition(";")
    if not semicolon:
        return value.strip()
    if kind.isalnum() and len(kind) <= _LONGEST_TYPE:  # as in most, and without a search
        return rest.strip()
    return _UNTYPED.sub("", value, count=1).strip()
