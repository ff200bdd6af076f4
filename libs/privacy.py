"""Redact addresses in other people's texts: facts are stored for long, addresses are not."""

import re

_ADDRESS = re.compile(r"<?[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}>?")
_PHONE = re.compile(r"\+\d{7,15}\b")
MAX_KEPT = 500


def redacted(text: str) -> str:
    """Return the text's first 500 characters, on one line, with every address and number replaced."""
    line = " ".join(text[: 4 * MAX_KEPT].split())
    for sign in "@+":  # no address or number contains a space, so only words with one of these signs are searched
        at = line.find(sign)
        while at >= 0:
            begin, end = line.rfind(" ", 0, at) + 1, line.find(" ", at)
            end = end if end >= 0 else len(line)
            word = _without(line[begin:end])
            line = line[:begin] + word + line[end:]
            at = line.find(sign, begin + len(word))
    return line[:MAX_KEPT]


def masked_key(key: str) -> str:
    """Return a recipient's key for readers without pii:read: the shop's own ids stay, addresses used as ids do not."""
    return _without(key)


def _without(text: str) -> str:
    """Most texts have neither sign and need no search."""
    if "@" in text:
        text = _ADDRESS.sub("<address>", text)
    return _PHONE.sub("<number>", text) if "+" in text else text
