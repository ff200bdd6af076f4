"""Header fields of a mail (RFC 5322, 2047, 6532): encoded, folded, and safe from injection."""

import base64
import re

import idna

# allowed unquoted in a display name (RFC 5322 atext and the blank)
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")
# an address that cannot leave its angle brackets: quoted or plain local part, then the domain
_MAILBOX = re.compile(r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"|[^\x00-\x20\x7f<>"@]+)@[^\x00-\x20\x7f<>"@]+')
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_LONGEST_BARE = 900  # a line has at most 998 characters
_LONGEST_URL = 998 - len("List-Unsubscribe: <>")
_WORD_BYTES = 39  # 64 characters encoded, so that a field's name fits before the first of 75


class NotAHeader(ValueError):
    """A value that would end its header field and begin another; the message says which."""


def _has_control(value: str) -> bool:
    return not value.isprintable() and _CONTROL.search(value) is not None  # most are printable, a cheap check


def text(value: str, what: str) -> str:
    """Encode an unstructured value (a subject). Raises NotAHeader for control characters."""
    if _has_control(value):
        raise NotAHeader(f"{what} contains a line break or another control character")
    if value.isascii() and len(value) <= _LONGEST_BARE and "=?" not in value:
        return value
    return encoded_words(value)


def encoded_words(value: str) -> str:
    """Return RFC 2047 words in UTF-8 and base64, folded, without splitting a character."""
    words: list[str] = []
    piece = b""
    for character in value:
        raw = character.encode("utf-8", "replace")
        if len(piece) + len(raw) > _WORD_BYTES:
            words.append(_word(piece))
            piece = b""
        piece += raw
    words.append(_word(piece))
    return "\r\n ".join(words)


def _word(raw: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(raw).decode()}?="


def mailbox(address: str, name: str | None = None) -> str:
    """Return `Name <address>` for From, To and Reply-To; the address as `ascii_domain` returned it.

    A name with control characters is left out: it is a courtesy, and no reason not to send."""
    if not name or not name.strip() or _has_control(name):
        return f"<{address}>"
    name = name.strip()
    if _PLAIN_PHRASE.fullmatch(name) and "=?" not in name and len(name) <= _WORD_BYTES:
        return f"{name} <{address}>"
    if name.isascii() and "=?" not in name and len(name) <= _WORD_BYTES:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{address}>'
    return f"{encoded_words(name)}\r\n <{address}>"


def ascii_domain(address: str, what: str) -> str:
    """Return the address with its domain as A-labels. Raises NotAHeader if it is not a mailbox."""
    if not _MAILBOX.fullmatch(address):
        raise NotAHeader(f"{what} is not an address that a mail could carry")
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError as error:
        raise NotAHeader(f"{what} has an invalid domain: {error}") from error


def named_mailbox(value: str, what: str) -> str:
    """Parse `address` or `Name <address>`, as people write Reply-To. Raises NotAHeader."""
    if _has_control(value):
        raise NotAHeader(f"{what} contains a line break or another control character")
    name, bracket, rest = value.strip().rpartition("<")
    address = rest.removesuffix(">") if bracket else value.strip()
    return mailbox(ascii_domain(address, what), name.strip().strip('"') or None)


def url(value: str, what: str) -> str:
    """Return a URL in angle brackets (RFC 2369). Raises NotAHeader."""
    if not value.isascii() or len(value) > _LONGEST_URL or re.search(r"[\x00-\x20\x7f<>]", value):
        raise NotAHeader(f"{what} is not a URL that a header could carry")
    return f"<{value}>"
