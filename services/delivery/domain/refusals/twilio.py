"""Classifies Twilio's replies and the error codes of its status callbacks.

Source: twilio.com/docs/api/errors. The number decides; if it is unknown, the HTTP status does.
"""

from typing import Any

import msgspec

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected

_TEXT_LIMIT = 500

# code → reason; the number itself can never receive an SMS
_DEAD_NUMBER = {
    21211: Reason.ADDRESS_INVALID,  # not a phone number
    21214: Reason.ADDRESS_INVALID,  # cannot be reached
    21217: Reason.ADDRESS_INVALID,  # does not appear to be valid
    21265: Reason.ADDRESS_INVALID,  # a short code
    21268: Reason.ADDRESS_INVALID,  # premium rate, or an information service
    21614: Reason.ADDRESS_INVALID,  # not a mobile number
    21635: Reason.ADDRESS_INVALID,  # a landline, which that country's carriers take no SMS for
    30005: Reason.ADDRESS_INVALID,  # unknown or no longer in service
    30006: Reason.ADDRESS_INVALID,  # landline
}
_FINAL = {
    21408: Reason.PROVIDER_REJECTED,  # this country is not enabled for the account
    21602: Reason.PAYLOAD_INVALID,  # no text
    21605: Reason.TOO_LARGE,
    21610: Reason.SUPPRESSED_UNSUBSCRIBE,  # the customer sent STOP to this originator
    21612: Reason.PROVIDER_REJECTED,  # no route from this originator to this number
    21617: Reason.TOO_LARGE,  # more than 1,600 characters
    21619: Reason.PAYLOAD_INVALID,
    30003: Reason.PROVIDER_REJECTED,  # handset off or out of reach for too long
    30004: Reason.PROVIDER_REJECTED,  # blocked by the carrier or the customer
    30007: Reason.PROVIDER_REJECTED,  # filtered as spam
    30008: Reason.PROVIDER_REJECTED,  # the carrier gives no reason
    30019: Reason.TOO_LARGE,
    30034: Reason.PROVIDER_REJECTED,  # unregistered campaign (US)
}
_OUR_SETUP = frozenset(
    {
        20003,
        20005,
        20006,
        20403,
        20404,
        21212,
        21266,
        21267,
        21603,
        21606,
        21607,
        21608,
        21609,
        21611,
        21659,
        21660,
        21661,
    }
    | {21701, 21702, 21703, 21704, 21705, 30002, 63007}
)
_TOO_FAST = frozenset({14107, 20429, 30001, 30022, 30023, 63018, 63038})


class _Body(msgspec.Struct):
    code: int = 0
    message: str = ""


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def sort_reply(status: int, body: bytes, retry_after: float | None) -> Outcome:
    """Return the outcome of a send request's reply other than success."""
    try:
        said = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = _Body(message=body[:_TEXT_LIMIT].decode("utf-8", "replace"))
    words: dict[str, Any] = {
        "text": said.message[:_TEXT_LIMIT] or f"HTTP {status}",
        "code": status,
        "error": str(said.code) if said.code else None,
    }
    if said.code in _DEAD_NUMBER:
        return Rejected(_DEAD_NUMBER[said.code], retire=True, **words)
    if said.code in _FINAL:
        return Rejected(_FINAL[said.code], **words)
    if said.code in _TOO_FAST or status == 429:
        return Deferred(Reason.THROTTLED, retry_after=retry_after, **words)
    if said.code in _OUR_SETUP or status in (401, 403, 404) or status < 400:
        return Deferred(Reason.SENDER_MISCONFIGURED, retry_after=retry_after, sender_fault=True, **words)
    if status in (502, 504):
        return Ambiguous(Reason.TIMED_OUT, f"HTTP {status}: {words['text']}")
    if status >= 500:
        return Deferred(Reason.PROVIDER_UNAVAILABLE, retry_after=retry_after, **words)
    return Rejected(Reason.PROVIDER_REJECTED, **words)


def reason_of(error_code: str | None) -> Reason:
    """Return what a status callback's ErrorCode means, once Twilio had accepted the message."""
    number = int(error_code) if error_code and error_code.isascii() and error_code.isdigit() else 0
    return _DEAD_NUMBER.get(number, Reason.PROVIDER_GAVE_UP)
