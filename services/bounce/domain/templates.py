"""Owns the template of a reply: its text without the parts that differ from mail to mail."""

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
# the same id in a word without hyphens, which never needs a second try
_ID_ALONE = re.compile(r"\b(?=[^\W\d]{0,40}+\d)(?=[^\WA-Za-z]{0,40}+[A-Za-z])\w{8,120}+\b|\b\d{6,40}+\b", re.IGNORECASE)
_SHORTEST_ID = 6
_DOTS = 3  # in an IP address
_SHORTEST = 4


def template_of(text: str) -> str:
    """`550 <kim@x.example> unknown (id 4FzK8s2M9q)` → `550 <address> unknown (id <id>)`; on one line, bounded."""
    words = text[: 2 * MAX_CHARS].split()
    if "<>" in text:
        words = " ".join(words).replace("<>", "").split(" ")
    # most words are only letters, and need no call
    line = " ".join(
        [word if word.isalpha() or (len(word) < _SHORTEST and "@" not in word) else _constant(word) for word in words]
    )
    return line.replace("<time> <time>", "<time>").replace("<<", "<").replace(">>", ">")[:MAX_CHARS]


def _constant(word: str) -> str:
    """Replace the word's variable parts. Ids differ each time, so caching such words gains nothing."""
    if "@" in word:
        word = _ADDRESS.sub("<address>", word)
    if "-" in word or ":" in word or word.count(".") >= _DOTS:
        return _kept(word)
    if len(word) < _SHORTEST_ID:
        return word
    return _ID_ALONE.sub("<id>", word)  # without these signs it contains neither a time nor an address


@lru_cache(maxsize=4_096)
def _kept(word: str) -> str:
    """Variable words have a digit; most of these recur."""
    return _VARIABLE.sub(lambda match: f"<{match.lastgroup}>", word) if _DIGIT.search(word) else word
