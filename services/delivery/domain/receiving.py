"""What receipts say about the attempt that they name."""

from collections.abc import Sequence
from typing import NamedTuple

from libs.contracts.outcomes import REACHED, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.delivery.domain.callbacks import ReceiptNews

GIVEN_UP = frozenset({ReceiptKind.FAILED, ReceiptKind.DROPPED})


class Verdict(NamedTuple):
    """The status that receipts give an attempt; `delivered` outweighs a recorded failure."""

    status: Status
    reason: Reason
    delivered: bool
    detail: str | None


def verdict_of(news: Sequence[ReceiptNews]) -> Verdict:
    """Combine all receipts of one attempt that came together: delivered outweighs failed, failed outweighs accepted."""
    if any(one.kind in REACHED for one in news):
        return Verdict(Status.SENT, Reason.NONE, True, None)
    for one in news:
        if one.kind in GIVEN_UP:
            return Verdict(Status.FAILED, one.reason or Reason.PROVIDER_GAVE_UP, False, one.detail)
    return Verdict(Status.SENT, Reason.NONE, False, None)
