"""Owns the form in which replies are compared with rules: without what servers vary without meaning.

Lower case; one space around every word, also the first and the last; addresses as `@`; the code that begins every line
of a long reply written once; no apostrophes or other punctuation, `=` excepted. Rules' phrases take the same form, so
an author may write them as the server does. The form is bytes (UTF-8), and so are the patterns: every engine then
agrees on every position, and a whole word is a literal with a space at either end.
"""

import re

MAX_CHARS = 2_000

_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789@="
_TABLE = bytes(
    char if char in _KEPT or char >= 0x80 else char + 32 if 65 <= char <= 90 else 0x20  # lower-cases A-Z
    for char in range(256)
)
_APOSTROPHES = b"'`"
_TYPOGRAPHIC = str.maketrans({"’": "", "‘": "", "´": "", "“": " ", "”": " ", "«": " ", "»": " ", "–": " ", "—": " "})
_TYPOGRAPHIC.update({0x00A0: " ", 0x3000: " ", 0x3002: ". ", 0xFF1A: " ", 0xFF0C: " ", 0x3001: " "})
# possessive, and only from the start of a word: linear however many characters could begin an address
_ADDRESS = re.compile(rb"(?<![^\s<>\"(),:;\[\]])[^\s<>\"(),:;\[\]@]{1,256}+@[^\s<>\"(),:;\[\]@]{1,255}+")
_DELIMITERS = b' \t\n\r\f\v<>"(),:;[]'  # where _ADDRESS ends
_WORDS = bytes(0x20 if char in _DELIMITERS else char for char in range(256))
_LONGEST_ADDRESS = 256
# found by its hyphen: most texts have none, and searching for one character is fastest
_CONTINUED = re.compile(rb"-(?<=([245]\d\d)-)(?<![\d.].{4})(?:([245]\.\d{1,3}\.\d{1,3}) )?", re.DOTALL)


def comparable(text: str) -> bytes:
    """Return the text as rules see it; at most MAX_CHARS of it are read."""
    return spaced(folded(text))


def spaced(words: bytes) -> bytes:
    """Return the comparable text of a folded one."""
    words = b" ".join(words.split())
    return b" " + words + b" " if words else b""


def folded(text: str) -> bytes:
    """Return the comparable text's words with any number of spaces between them: texts equal in this form are equal in
    the other, and it costs a third less."""
    text = text[:MAX_CHARS]
    words = text.encode() if text.isascii() else text.lower().translate(_TYPOGRAPHIC).encode("utf-8", "replace")
    if b"@" in words:
        words = _without_address(words.replace(b"...", b" "))  # sendmail's: kim@x.example...User unknown
    if b"-" in words and _CONTINUED.search(words):
        words = _said_once(b" ".join(words.split()))
    return words.translate(_TABLE, _APOSTROPHES)


def _without_address(words: bytes) -> bytes:
    """Same result as _ADDRESS.sub, but faster for one address, as nearly always."""
    at = words.find(b"@")
    if words.find(b"@", at + 1) < 0:
        plain = words.translate(_WORDS)
        begin, end = plain.rfind(b" ", 0, at) + 1, plain.find(b" ", at)
        if end < 0:
            end = len(words)
        if begin < at < end - 1 and end - begin < _LONGEST_ADDRESS:
            return words[:begin] + b"@" + words[end:]
    return _ADDRESS.sub(b"@", words)


def _said_once(words: bytes) -> bytes:
    """`550-5.1.1 no such 550 5.1.1 user` is one sentence: only the first of the lines' leading codes stays."""
    prefix = _CONTINUED.search(words)
    if prefix is None:
        return words
    code, enhanced = prefix[1], prefix[2]
    begin = code + prefix[0]
    rest = words[prefix.end() :].replace(begin, b"")
    rest = rest.replace(code + b" " + enhanced + b" ", b"") if enhanced else rest.replace(b" " + code + b" ", b" ")
    head = code + b" " + (enhanced + b" " if enhanced else b"")
    return words[: prefix.start() - len(code)] + head + rest
