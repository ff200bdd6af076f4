"""Shared by history's reading routes: access, masking, and checks of search terms."""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Request

from libs.addresses import email_address, phone_number
from libs.auth import Principal, scope
from libs.errors import Invalid
from libs.ids import AddressHasher
from libs.privacy import masked_key
from services.history.domain.facts import address_key
from services.history.ports import History

Reader = Annotated[Principal, scope("history:read", internal=True)]
Mask = Callable[[str], str]


def deps_of(request: Request) -> History:
    deps: History = request.app.state.deps
    return deps


def mask_of(principal: Principal) -> Mask:
    """Return the mask for addresses that serve as ids or occur in a text; some principals may see them."""
    return str if principal.may("pii:read") else masked_key


def masked(text: str | None, mask: Mask) -> str | None:
    return mask(text) if text is not None else None


def key_of(hasher: AddressHasher, address: str) -> int:
    """Return the key by which history finds an e-mail address or phone number. Raises Invalid."""
    made = email_address(address, "address") if "@" in address else phone_number(address, None, "address")
    key = address_key(made.hash(hasher))
    assert key is not None
    return key


def no_control_characters(words: Mapping[str, str | None]) -> None:
    for name, value in words.items():
        if value and any(c < " " for c in value):
            raise Invalid("A search term must not contain control characters.", pointer=name)
