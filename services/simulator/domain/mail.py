"""SMTP's command lines (RFC 5321) as values, and the decoding of a transferred mail."""

import re
from dataclasses import dataclass

from services.simulator.domain.reports import tag_of_return_path

_PATH = re.compile(r"(?:FROM|TO):\s*<((?:@[^:>]*:)?)([^>]*)>\s*(.*)$", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r'(?:"(?:[^"\\\r\n]|\\.)+"|[^\s"<>()\[\],;:@\\]+)@(?:[^\s@<>]+)$')
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?<?([^\s>]+)", re.IGNORECASE | re.MULTILINE)
_LOCAL_OCTETS, _PATH_OCTETS = 64, 254


@dataclass(frozen=True, slots=True)
class Path:
    """A reverse or forward path with its parameters; parameter names are in upper case."""

    address: str
    parameters: dict[str, str]


def path_of(argument: str) -> Path | None:
    """Parse the argument of MAIL or RCPT; None if it is malformed. Drops source routes (RFC 5321 §4.1.1.3)."""
    found = _PATH.match(argument)
    if found is None:
        return None
    parameters = {}
    for word in found[3].split():
        name, _, value = word.partition("=")
        parameters[name.upper()] = value
    return Path(found[2], parameters)


def acceptable(address: str) -> bool:
    """Whether an address has RFC 5321's form and lengths."""
    if len(address.encode()) > _PATH_OCTETS or not _ADDRESS.match(address):
        return False
    return len(address.rpartition("@")[0].encode()) <= _LOCAL_OCTETS


def unstuffed(data: bytes) -> bytes:
    """Remove the dots that transfer doubles (RFC 5321 §4.5.2)."""
    if data.startswith(b"."):
        data = data[1:]
    return data.replace(b"\r\n.", b"\r\n")


def tag_and_attempt(sender: str, mail: bytes) -> tuple[str, int]:
    """Identify a mail's message: by its signed return path, else its Message-ID, else its own content."""
    if (told := tag_of_return_path(sender)) is not None:
        return told
    head = mail[: mail.find(b"\r\n\r\n") + 2] or mail
    if (found := _MESSAGE_ID.search(head)) is not None:
        return found[1].decode("latin-1"), 0
    return f"{sender} {hash(mail):x}", 0
