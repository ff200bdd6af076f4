"""Recipient keys: `customer:<the shop's id>` or `installation:<id>`, as decided and never re-mapped afterwards."""

import re
from decimal import Decimal
from typing import Any

from libs.ids import RecipientKey, recipient_key_of

MAX_KEY = 200
MAX_RECIPIENTS = 10_000
_KINDS = ("customer", "installation")
_BAD = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029]")


class BadRecipient(ValueError):
    """A value that cannot be a recipient key; the message says why."""


def recipient_key(value: Any) -> RecipientKey:
    """Return one key from an expression's result: a key, a bare id (a customer's), or `{"installation": id}`."""
    if isinstance(value, dict):
        if len(value) != 1 or (kind := next(iter(value))) not in _KINDS:
            raise BadRecipient('A recipient as a map has one entry: {"customer": id} or {"installation": id}.')
        return recipient_key(f"{kind}:{_id(value[kind])}")
    text = recipient_key_of(_id(value))  # a shop's ids may look like gid://shopify/Customer/1
    if text.endswith(":") and text[:-1] in _KINDS:
        raise BadRecipient("The recipient's id is empty.")
    if len(text) > MAX_KEY:
        raise BadRecipient(f"A recipient key may have at most {MAX_KEY} characters.")
    if _BAD.search(text):
        raise BadRecipient("A recipient key must not contain spaces or control characters.")
    return text


def recipient_keys(value: Any) -> list[RecipientKey]:
    """Return the keys of a recipient expression's result, without repeats, in order. Null, "" and [] are nobody."""
    if value is None or value == "" or value == []:
        return []
    if not isinstance(value, list | tuple):
        return [recipient_key(value)]
    if len(value) > MAX_RECIPIENTS:
        raise BadRecipient(f"An event may have at most {MAX_RECIPIENTS} recipients; use a campaign for more.")
    return list(dict.fromkeys(recipient_key(item) for item in value if item is not None and item != ""))


def _id(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadRecipient(f"A recipient is a string or an integer, not {_named(value)}.")


def _named(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case list() | tuple():
            return "a list in a list"
        case dict():
            return "a map"
        case _:
            return "a number with decimals" if isinstance(value, float | Decimal) else "this"
