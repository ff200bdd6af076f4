"""What a reader without `pii:read` sees: enough to recognise, not enough to use."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from services.tokens.domain.recipients import MASK


def masked_text(text: str | None) -> str | None:
    """Mask a name: its first letter."""
    return text[:1] + MASK if text else text


def masked_address(kind: str, value: str) -> str:
    """Mask an address: the mailbox's first letter, a number's country and last two digits, a token's start, a host."""
    match kind:
        case "email":
            local, _, domain = value.rpartition("@")
            return f"{local[:1]}{MASK}@{domain}"
        case "phone":
            return f"{value[:3]}{MASK}{value[-2:]}"
        case "webhook":
            parts = urlsplit(value)
            return f"{parts.scheme}://{parts.netloc}/{MASK}"
        case _:
            return value[:6] + MASK


def masked_attributes(value: Any) -> Any:
    """Mask attributes: hide strings, show numbers and booleans."""
    if isinstance(value, Mapping):
        return {name: masked_attributes(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_attributes(item) for item in value]
    return MASK if isinstance(value, str) else value
