"""Classifies webhook receivers' replies. Receivers know a message by its id, so a retry costs them nothing."""

from typing import Any

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Deferred, Outcome, Rejected, Sent

_TEXT_LIMIT = 500


def sort_reply(status: int, body: bytes, retry_after: float | None) -> Outcome:
    """Return the outcome of any reply; `body` is its beginning."""
    if 200 <= status < 300:
        return Sent()
    text = body[:_TEXT_LIMIT].decode("utf-8", "replace").strip()
    said: dict[str, Any] = {"text": f"HTTP {status} {text}".rstrip(), "code": status}
    match status:
        case 410:  # Standard Webhooks: the receiver wants no more of them
            return Rejected(Reason.ADDRESS_INVALID, retire=True, **said)
        case 429:
            return Deferred(Reason.THROTTLED, retry_after=retry_after, **said)
        case 408 | 425:
            return Deferred(Reason.PROVIDER_UNAVAILABLE, retry_after=retry_after, **said)
        case 413:
            return Rejected(Reason.TOO_LARGE, **said)
        case _ if 300 <= status < 400:  # following a redirect could lead to an internal host
            return Rejected(Reason.PROVIDER_REJECTED, f"HTTP {status}: redirects are not followed", code=status)
        case _ if status >= 500:
            return Deferred(Reason.PROVIDER_UNAVAILABLE, retry_after=retry_after, **said)
        case _:
            return Rejected(Reason.PROVIDER_REJECTED, **said)
