"""Bounce's queries: bounces, suppressions with their evidence, rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from libs.addresses import device_token, email_address, phone_number, webhook_url
from libs.auth import Principal
from libs.errors import NotFound
from libs.ids import AddressHasher
from services.bounce.domain.rules.assembling import Shipped
from services.bounce.domain.rules.entries import Entry, State
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.suppressions import Suppression
from services.bounce.ports import Filter, Reads
from services.bounce.ports.mails import Mail
from services.bounce.ports.rules import RuleFilter, Rules

_EVIDENCE_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Explained:
    """A suppression and the facts about its address, newest first."""

    suppression: Suppression
    evidence: list[Mapping[str, Any]]


def hash_of(hasher: AddressHasher, text: str, kind: str | None) -> bytes:
    """Hash an address as people write it; its form shows its kind. Raises InvalidAddress."""
    if kind == "email" or (kind is None and "@" in text):
        return email_address(text, "address").hash(hasher)
    if kind == "webhook" or (kind is None and text.startswith(("https://", "http://"))):
        return webhook_url(text, allow_private=True, pointer="address").hash(hasher)
    if kind == "phone" or (kind is None and text.lstrip()[:1] in "+0"):
        return phone_number(text, None, "address").hash(hasher)
    return device_token("fcm_token" if kind in (None, "device") else kind, text, "address").hash(hasher)


async def explained(reads: Reads, principal: Principal, id: UUID) -> Explained:
    """Return one suppression with its evidence; raises NotFound."""
    found = await reads.suppression(principal.tenant, principal.mode, id)
    if found is None:
        raise NotFound(f"There is no suppression {id}; `depesche suppressions list` lists them.")
    evidence = Filter(principal.tenant, principal.mode, _EVIDENCE_SHOWN, address_hash=found.key.address_hash)
    return Explained(found, await reads.bounces(evidence))


async def bounce(reads: Reads, principal: Principal, id: UUID) -> Mapping[str, Any]:
    """Return one fact; raises NotFound."""
    found = await reads.bounce(principal.tenant, principal.mode, id)
    if found is None:
        raise NotFound(f"There is no bounce {id} in this tenant and mode; GET bounces lists them.")
    return found


async def mail(reads: Reads, principal: Principal, id: UUID) -> Mail:
    """Return a mail with its outcome; raises NotFound."""
    found = await reads.mail(principal.tenant, principal.mode, id)
    if found is None:
        raise NotFound(f"There is no mail {id}. Mails that name no message of yours are counted as backscatter.")
    return replace(found, raw=None)


async def rules(shipped: Shipped, made: Rules, wanted: RuleFilter) -> list[Entry]:
    """Return a page of rules by id: the shipped ones, and those that people wrote."""
    own = [] if wanted.layer is Layer.SHIPPED else await made.page(wanted)
    ids = sorted(id_ for id_ in shipped.documents if id_ > wanted.after)
    fitting = [entry for id_ in ids if fits(entry := shipped_entry(shipped, id_), wanted)]
    return sorted([*own, *fitting[: wanted.limit]], key=lambda entry: (entry.id, entry.layer))[: wanted.limit]


def shipped_entry(shipped: Shipped, id_: str) -> Entry:
    """Return a shipped rule in the form of those that people write."""
    document = {name: value for name, value in shipped.documents[id_].items() if name != "id"}
    return Entry(id_, Layer.SHIPPED, State.LIVE, document, 0, "depesche", None, "depesche", None)


def fits(entry: Entry, wanted: RuleFilter) -> bool:
    """Whether a rule matches a list's filters."""
    document = entry.document
    providers = document.get("provider") or ()
    listed = providers if isinstance(providers, list | tuple) else (providers,)
    return (
        wanted.layer in (None, entry.layer)
        and wanted.state in (None, entry.state)
        and wanted.category in (None, document.get("category"))
        and (wanted.provider is None or wanted.provider in listed)
        and (wanted.text is None or wanted.text.lower() in f"{entry.id} {document}".lower())
    )
