"""Owns what a block is about: our IP address that the refusal names, else the mail's From domain."""

import ipaddress
import re
from functools import lru_cache

_ADDRESSES = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}(?::{1,2}[0-9a-f]{1,4}){2,7})(?![\w:]|\.\d)", re.I
)
# version 4 only; the lookbehind follows the first digit, so that the search runs from digit to digit
_ADDRESSES_V4 = re.compile(r"\d(?<![\w.:].)\d{0,2}(?:\.\d{1,3}){3}(?![\w:]|\.\d)", re.DOTALL)
_READ = 2_000
_DOTS, _COLONS = 3, 2  # in any address


def blocked_origin(text: str, from_domain: str) -> str:
    """Return the first public IP address in a refusal, else the domain; a version number is not an address."""
    text = text[:_READ]
    has_colons = text.count(":") >= _COLONS
    if not has_colons and text.count(".") < _DOTS:
        return from_domain
    for found in (_ADDRESSES if has_colons else _ADDRESSES_V4).findall(text):
        if (address := _public(found)) is not None:
            return address
    return from_domain


@lru_cache(maxsize=4_096)
def _public(found: str) -> str | None:
    """Return the address if it is public; the same few recur."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return None
    return str(address) if address.is_global else None
