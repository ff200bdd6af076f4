"""Owns the fields of delivery status reports: RFC 3464 and 6533, also where their MIME type was lost."""

import re
from dataclasses import dataclass

from services.bounce.domain.mime import Headers, Part, parse_headers
from services.bounce.domain.told import ADDRESS

MAX_RECIPIENTS = 100
MAX_TEXT = 4_000

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_FIELDS = re.compile(r"^(?:final-recipient|original-recipient|action|status|diagnostic-code)[ \t]*:", re.I | re.M)
_PER_RECIPIENT = ("final-recipient", "action", "status", "diagnostic-code")
_BLANK = re.compile(r"\n[ \t]*\n")
_UNTYPED = re.compile(r"\s*[\w.-]{1,30}\s*;\s*")
_ADDRESS = re.compile(ADDRESS)
_REPLY = re.compile(r"(?<![\d.])([245]\d\d)(?=[ \-#(:,;.\]]|$)(?!\.\d)")
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\.\d)")
_BOTH = re.compile(r"([245]\d\d)[ -]#?([245]\.\d{1,3}\.\d{1,3})[ :]")


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report says about one recipient. `action` is RFC 3464's word; `failed` where it gave none.

    `host`: the remote server that answered; `stage`: the SMTP command that it answered, where the report tells.
    """

    address: str | None
    action: str
    reply_code: int | None
    enhanced: str | None
    text: str
    host: str | None = None
    stage: str | None = None


def codes_in(text: str) -> tuple[int | None, str | None]:
    """The first SMTP reply code and the first enhanced code in a text."""
    both = _BOTH.match(text)
    if both:
        return int(both[1]), both[2]
    reply, enhanced = _REPLY.search(text), _ENHANCED.search(text)
    return (int(reply[1]) if reply else None), (enhanced[1] if enhanced else None)


def delivery_status(parts: list[Part]) -> tuple[Reported, ...]:
    """What the status part says, recipient by recipient; else the fields that stand in a text."""
    texts = [part.text for part in parts if part.type in STATUS_TYPES]
    if not texts:  # the fields without the type: a report that lost its MIME
        loose = (part.text for part in parts if part.type.startswith(("text/", "multipart/")))
        texts = [text for text in loose if len(_FIELDS.findall(text)) >= 2]
    found: list[Reported] = []
    for text in texts:
        for block in _BLANK.split(text.replace("\r\n", "\n")):
            if len(found) < MAX_RECIPIENTS and ":" in block:
                found += _blocks(parse_headers(block))
    return tuple(found[:MAX_RECIPIENTS])


def _blocks(headers: Headers) -> list[Reported]:
    """One recipient a block; where the blank lines were lost, each Final-Recipient begins the next one."""
    groups: list[list[tuple[str, str]]] = [[]]
    for name, value in headers.items:
        if name == "final-recipient" and any(key == "final-recipient" for key, _ in groups[-1]):
            groups.append([])
        groups[-1].append((name, value))
    blocks = [Headers(tuple(group)) for group in groups[:MAX_RECIPIENTS]]
    return [_reported(block) for block in blocks if sum(bool(block.get(name)) for name in _PER_RECIPIENT) >= 2]


def _reported(block: Headers) -> Reported:
    diagnostic = _UNTYPED.sub("", block.get("diagnostic-code"), count=1).strip()
    status = _ENHANCED.search(block.get("status"))
    enhanced = status[1] if status else None
    reply, inside = codes_in(diagnostic) if diagnostic else (None, None)
    if inside and (enhanced is None or enhanced.endswith(".0.0")):
        enhanced = inside  # 5.0.0 says nothing; the server's own reply often says more
    address = _ADDRESS.search(block.get("original-recipient")) or _ADDRESS.search(block.get("final-recipient"))
    action = block.get("action").strip().lower().split(" ")[0].split("(")[0]
    host = _UNTYPED.sub("", block.get("remote-mta"), count=1).partition(" ")[0]
    return Reported(
        address[0] if address else None,
        action or ("delivered" if (enhanced or "").startswith("2") else "failed"),
        reply,
        enhanced,
        diagnostic[:MAX_TEXT],
        host or None,
    )
