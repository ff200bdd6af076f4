"""Looks messages up in the ledger, over delivery's API."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.contracts.outcomes import Mode
from libs.service_client import ServiceClient, refusals_as_unavailable
from services.bounce.ports import Message, Sending

_BATCH = 500
_SUITE = 0  # a return path names a message, not a tenant: the suite queries all tenants


@dataclass(frozen=True, slots=True)
class DeliveryMessages:
    """`messages:lookup` in batches."""

    client: ServiceClient

    async def lookup(self, ids: Sequence[str]) -> Mapping[str, Message]:
        """Return messages by id. Raises Unavailable."""
        found: dict[str, Message] = {}
        for start in range(0, len(ids), _BATCH):
            body = {"ids": list(ids[start : start + _BATCH])}
            with refusals_as_unavailable(self.client.name):
                answer = await self.client.post("/v1/messages:lookup", body, tenant=_SUITE, mode=Mode.LIVE)
            entries = answer.get("messages", answer)
            found |= {id_: made for id_, entry in entries.items() if (made := _message(entry))}
        return found


def _message(entry: Mapping[str, object]) -> Message | None:
    """Return None for a message without an address: it cannot have bounced."""
    hashed = entry.get("address_hash")
    if not isinstance(hashed, str):
        return None
    mode, recipient = entry["mode"], entry.get("recipient")
    return Message(
        tenant=int(str(entry["tenant"])),
        mode=Mode(mode) if isinstance(mode, int) else Mode.parse(str(mode)),
        address_hash=base64.b64decode(hashed),
        recipient=str(recipient) if recipient is not None else None,
        channel=str(entry.get("channel")),
        sending=Sending(
            int(str(entry.get("sender") or 0)),
            str(entry.get("from_domain") or ""),
            str(entry.get("communication") or ""),
        ),
        erased=bool(entry.get("erased")),
    )
