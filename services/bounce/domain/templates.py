"""Owns the template of a reply: its text without what differs from one mail to the next."""

import re
from functools import lru_cache

MAX_CHARS = 500

_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w.-]{1,255}")
_DIGIT = re.compile(r"\d")
_VARIABLE = re.compile(
    r"(?P<ip>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?Z?)?\b|\b\d\d:\d\d:\d\d\b)"
    # a queue's or a session's id: eight or more characters with both letters and digits, or a long number
    r"|(?P<id>\b(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Za-z])[\w-]{8,120}\b|\b\d{6,40}\b)",
    re.IGNORECASE,
)
_SHORTEST = 4


def template_of(text: str) -> str:
    """`550 <kim@x.example> unknown (id 4FzK8s2M9q)` → `550 <address> unknown (id <id>)`; on one line, bounded."""
    line = " ".join(text[: 2 * MAX_CHARS].split()).replace("<>", "")
    words = line.split(" ")
    if "@" in line:  # an address has no space in it, and to look for one costs more the longer a text is
        words = [_ADDRESS.sub("<address>", word) if "@" in word else word for word in words]
    # most words have letters alone, and no call
    line = " ".join([word if word.isalpha() or len(word) < _SHORTEST else _constant(word) for word in words])
    return line.replace("<time> <time>", "<time>").replace("<<", "<").replace(">>", ">")[:MAX_CHARS]


@lru_cache(maxsize=4_096)
def _constant(word: str) -> str:
    """What varies has a digit, and most words have none; most of these come over and over."""
    return _VARIABLE.sub(lambda match: f"<{match.lastgroup}>", word) if _DIGIT.search(word) else word
