"""Recipient keys: an expression's result becomes a key that is never re-mapped, or is refused with a reason."""

from typing import Any

import pytest

from services.orders_notification.domain.recipients import BadRecipient, recipient_key, recipient_keys


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("customer:17", "customer:17"),
        ("installation:abc", "installation:abc"),
        ("17", "customer:17"),
        (820982911946154508, "customer:820982911946154508"),
        ("gid://shopify/Customer/1", "customer:gid://shopify/Customer/1"),
        ({"installation": "abc"}, "installation:abc"),
        ({"customer": 5}, "customer:5"),
        ("käufer-ü", "customer:käufer-ü"),
    ],
)
def test_keys_and_bare_ids_become_keys(value: Any, key: str) -> None:
    assert recipient_key(value) == key


@pytest.mark.parametrize(
    "value",
    ["customer:", "installation:", "a b", "a\n", "\u00a0x", True, 1.5, None, [], {}, {"device": "x"},
     {"customer": "1", "installation": "2"}, {"customer": None}, "x" * 200],
)  # fmt: skip
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(BadRecipient):
        recipient_key(value)


def test_a_list_yields_each_recipient_once_in_order() -> None:
    assert recipient_keys(["b", "customer:a", "customer:b", None, ""]) == ["customer:b", "customer:a"]


@pytest.mark.parametrize("nobody", [None, "", []])
def test_an_empty_result_names_no_recipient(nobody: Any) -> None:
    assert recipient_keys(nobody) == []


def test_an_oversized_list_is_refused_as_a_campaign() -> None:
    with pytest.raises(BadRecipient, match="campaign"):
        recipient_keys([str(n) for n in range(10_001)])
