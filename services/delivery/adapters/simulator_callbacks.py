"""The simulator's callbacks: receipts of channels whose real providers have none.

JSON, one object or a list, signed by Standard Webhooks:

    {"id", "message", "attempt", "kind": a word of ReceiptKind, "at"?: RFC 3339, "detail"?}
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from libs import standard_webhooks
from libs.contracts.outcomes import ReceiptKind
from libs.contracts.reasons import Reason
from libs.errors import BadRequest, Invalid
from libs.ids import parse_message_id
from services.delivery.domain.callbacks import Callback, News, ReceiptNews

PROVIDER = "simulator"
KEY_PURPOSE = "simulator"  # the keyring's purpose, shared with the simulator
_MOST = 1_000


class _Receipt(msgspec.Struct):
    id: str
    message: str
    kind: str
    attempt: int = 1
    at: datetime | None = None
    detail: str | None = None


_decode = msgspec.json.Decoder(_Receipt | list[_Receipt]).decode


class SimulatorCallbacks:
    """Reads callbacks signed with one of the keys."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys

    def read(self, callback: Callback, now: datetime) -> list[News]:
        """Return the receipts. Raises Unauthorized, BadRequest, Invalid."""
        standard_webhooks.verify(self._keys, callback.headers, callback.body, now.timestamp())
        try:
            decoded = _decode(callback.body)
        except msgspec.ValidationError as error:
            raise Invalid(f"The receipt does not match the expected format: {error}.", pointer="") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"The receipt is not valid JSON: {error}.") from error
        receipts = decoded if isinstance(decoded, list) else [decoded]
        if len(receipts) > _MOST:
            raise Invalid(f"At most {_MOST:,} receipts at a time; send them in parts.", pointer="")
        return [_translate(receipt, now) for receipt in receipts]


def _translate(receipt: _Receipt, now: datetime) -> ReceiptNews:
    try:
        at = now if receipt.at is None else _aware(receipt.at)
        kind = ReceiptKind(ReceiptKind.parse(receipt.kind))
        notification, address = parse_message_id(receipt.message)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"The receipt {receipt.id} cannot be read: {error}.", pointer="") from error
    failed = kind in (ReceiptKind.FAILED, ReceiptKind.BOUNCED)
    reason = Reason.PROVIDER_GAVE_UP if failed else Reason.NONE
    return ReceiptNews(
        PROVIDER, receipt.id, notification, address, receipt.attempt, kind, at, reason, None, receipt.detail
    )


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
