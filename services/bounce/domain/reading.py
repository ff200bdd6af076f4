"""Owns the first look at a mail: cut before the returned message, its parts by the fastest reader that copes.

fast-mail-parser reads what is well formed, in Rust; where it gives up, or finds no parts in what calls itself
multipart, our own tolerant reader (`mime.py`) takes over. Whatever comes, somebody has read it: nothing raises.
"""

import re
from dataclasses import dataclass
from itertools import islice

import fast_mail_parser
from fast_mail_parser import ParseError, PyLazyMimePart

from services.bounce.domain import mime
from services.bounce.domain.mime import MAX_BYTES, MAX_DEPTH, MAX_PARTS, Headers, Part

_RETURNED = re.compile(rb"(?:message/(?:rfc822|global)|text/rfc822-headers|message/global-headers)[;\s]", re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n\r?\n")
MAX_RETURNED = 16 * 1024
_MOST_TYPES = 20


@dataclass(frozen=True, slots=True)
class Read:
    """A mail: itself, its leaves in order, and the head of the message that it returns, undecoded."""

    root: Part
    parts: list[Part]
    returned: bytes


def read(raw: bytes) -> Read:
    """Never raises; looks at MAX_BYTES at most."""
    kept, returned = _cut(raw[:MAX_BYTES])
    found = _quickly(kept)
    root, parts = found or mime.parse(kept)
    return Read(root, parts, returned)


def _cut(raw: bytes) -> tuple[bytes, bytes]:
    """What the server wrote, and what begins with the headers of the mail that it sends back.

    Only a part of a multipart counts: between the last boundary and the type there is no blank line.
    """
    for found in islice(_RETURNED.finditer(raw), _MOST_TYPES):
        begin = raw.rfind(b"\n--", 0, found.start())
        if begin < 0 or _BLANK.search(raw, begin, found.start()):
            continue
        after = _BLANK.search(raw, found.end() - 1)
        return raw[: begin + 1], raw[after.end() : after.end() + MAX_RETURNED] if after else b""
    return raw, b""


def _quickly(raw: bytes) -> tuple[Part, list[Part]] | None:
    try:
        tree = fast_mail_parser.parse_email_tree(raw, mode="lazy")
        root = _part(tree, b"")
        parts: list[Part] = []
        _leaves(tree, 0, parts)
    except (ParseError, ValueError):
        return None
    if not root.headers.items or (root.type.startswith("multipart/") and not parts):
        return None
    return root, parts


def _leaves(node: PyLazyMimePart, depth: int, parts: list[Part]) -> None:
    if len(parts) >= MAX_PARTS or depth > MAX_DEPTH:
        return
    if node.is_message or not node.children:
        if not node.content_type.startswith("multipart/"):
            parts.append(_part(node, node.content or b""))
        return
    for child in node.children:
        _leaves(child, depth + 1, parts)


def _part(node: PyLazyMimePart, body: bytes) -> Part:
    headers = Headers(tuple((name.lower(), value) for name, values in node.headers.items() for value in values))
    kind, parameters = mime.content_type(headers.get("content-type"))
    return Part(kind, parameters, headers, body, is_decoded=True)
