"""A shop's request to its webhook, or a message of a topic, as it came."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as it came: raw bytes, lower-case header names. `url`: the address that its sender was given, with
    the query as it came."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    method: str = "POST"
    url: str = ""
