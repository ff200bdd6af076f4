"""A shop's webhook request, or a topic's message, as received."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as received: raw bytes, lower-case header names. `url`: the address that its sender knows, with the
    original query."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    method: str = "POST"
    url: str = ""
