"""Successful contacts with an address: policy considers them before a mailbox is called dead."""

from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Channel, ReceiptKind, Status
from services.bounce.handlers.deps import Bounce
from services.bounce.ports import Reached

_EMAIL = Channel.EMAIL.word
_SENT = Status.SENT.word
_READ = frozenset(kind.word for kind in (ReceiptKind.DELIVERED, ReceiptKind.OPENED, ReceiptKind.CLICKED))


async def note_acceptances(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Record accepted mails. Every message of the line passes here, so others must cost only a comparison."""
    mails = [
        Reached(envelope.tenant, envelope.mode, transition.address_hash, transition.at)
        for envelope in batch
        for transition in envelope.data.transitions
        if transition.channel == _EMAIL and transition.is_ == _SENT and transition.address_hash
    ]
    if mails:
        await deps.contacts.accepted(mails)


async def note_readings(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Record receipts that show a reader: delivered, opened, clicked."""
    readings = [
        Reached(envelope.tenant, envelope.mode, receipt.address_hash, receipt.at)
        for envelope in batch
        for receipt in envelope.data.receipts
        if receipt.kind in _READ and receipt.address_hash
    ]
    if readings:
        await deps.contacts.read(readings)
