"""What bounce can be asked: bounces, and suppressions with their evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from libs.addresses import device_token, email_address, phone_number, webhook_url
from libs.auth import Principal
from libs.errors import NotFound
from libs.ids import AddressHasher
from services.bounce.domain.suppressions import Suppression
from services.bounce.ports import Filter, Mail, Reads

_EVIDENCE_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Explained:
    """A suppression and the facts about its address, newest first."""

    suppression: Suppression
    evidence: list[Mapping[str, Any]]


def hash_of(hasher: AddressHasher, text: str, kind: str | None) -> bytes:
    """The hash of an address as people write it; its kind is seen from its form. Raises InvalidAddress."""
    if kind == "email" or (kind is None and "@" in text):
        return email_address(text, "address").hash(hasher)
    if kind == "webhook" or (kind is None and text.startswith(("https://", "http://"))):
        return webhook_url(text, allow_private=True, pointer="address").hash(hasher)
    if kind == "phone" or (kind is None and text.lstrip()[:1] in "+0"):
        return phone_number(text, None, "address").hash(hasher)
    return device_token("fcm_token" if kind in (None, "device") else kind, text, "address").hash(hasher)


async def explained(reads: Reads, principal: Principal, id: UUID) -> Explained:
    """One suppression with its evidence; raises NotFound."""
    found = await reads.suppression(principal.tenant, principal.mode, id)
    if found is None:
        raise NotFound(f"There is no suppression {id}; GET suppressions lists them.")
    evidence = Filter(principal.tenant, principal.mode, _EVIDENCE_SHOWN, address_hash=found.key.address_hash)
    return Explained(found, await reads.bounces(evidence))


async def mail(reads: Reads, principal: Principal, id: UUID) -> Mail:
    """What became of a mail; raises NotFound."""
    found = await reads.mail(principal.tenant, principal.mode, id)
    if found is None:
        raise NotFound(f"There is no mail {id}. Mails that named no message of yours are counted as backscatter.")
    return replace(found, raw=None)
