"""Classifies FCM's replies. `details[].errorCode` decides, not `status`: opposite cases share one status.

404 is an uninstalled app (UNREGISTERED) or our own wrong project; 403 is a token of another project
(SENDER_ID_MISMATCH) or our own missing permission. Only the first of each retires an address. Source:
firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and …/docs/cloud-messaging/error-codes.
"""

import re
from typing import Any

import msgspec

from libs.contracts.reasons import Reason
from libs.retry_after import LONGEST_SECONDS
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected

# FCM's rule for a 429 without Retry-After
QUOTA_PAUSE_SECONDS = 60.0
_TEXT_LIMIT = 500
_DELAY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?s")
_TARGET_FIELDS = ("message.token", "message.fid")


class _Violation(msgspec.Struct):
    field: str = ""
    description: str = ""


class _Detail(msgspec.Struct):
    errorCode: str | None = None
    retryDelay: str | None = None  # of a google.rpc.RetryInfo: "30s", "1.5s"
    fieldViolations: list[_Violation] = []


class _Error(msgspec.Struct):
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _Body(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def sort_reply(status: int, body: bytes, retry_after: float | None) -> Outcome:
    """Return the outcome of a reply other than success. Bodies that are not FCM's are classified by status alone."""
    try:
        error = _decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        error = _Error(message=body[:_TEXT_LIMIT].decode("utf-8", "replace"))
    if retry_after is None:
        retry_after = next((_seconds(d.retryDelay) for d in error.details if d.retryDelay), None)
    code = next((d.errorCode for d in error.details if d.errorCode), None)
    said: dict[str, Any] = {
        "text": error.message[:_TEXT_LIMIT] or f"HTTP {status}",
        "code": status,
        "error": code or error.status or None,
    }
    match code:
        case "UNREGISTERED":
            return Rejected(Reason.DEVICE_UNREGISTERED, retire=True, **said)
        case "SENDER_ID_MISMATCH":
            return Rejected(Reason.ADDRESS_INVALID, retire=True, **said)
        case "INVALID_ARGUMENT":
            return _invalid(error, said)
        case "THIRD_PARTY_AUTH_ERROR":  # the app's APNs or web push key: the device is alive, so its address stays
            return Deferred(Reason.SENDER_MISCONFIGURED, retry_after=retry_after, sender_fault=True, **said)
        case "QUOTA_EXCEEDED":
            return Deferred(Reason.THROTTLED, retry_after=_or_pause(retry_after), **said)
        case "UNAVAILABLE" | "INTERNAL":
            return Deferred(Reason.PROVIDER_UNAVAILABLE, retry_after=retry_after, **said)
        case _:
            return _by_status(status, said, error, retry_after)


def _seconds(delay: str) -> float | None:
    return min(float(delay[:-1]), LONGEST_SECONDS) if _DELAY.fullmatch(delay) else None


def _or_pause(retry_after: float | None) -> float:
    return QUOTA_PAUSE_SECONDS if retry_after is None else retry_after


def _invalid(error: _Error, said: dict[str, Any]) -> Outcome:
    """A 400 never loops. It is the address's fault only if FCM names the target's field."""
    fields = [v.field for d in error.details for v in d.fieldViolations]
    if any(field in _TARGET_FIELDS for field in fields) or "not a valid FCM registration token" in error.message:
        return Rejected(Reason.ADDRESS_INVALID, retire=True, **said)
    return Rejected(Reason.PAYLOAD_INVALID, **said)


def _by_status(status: int, said: dict[str, Any], error: _Error, retry_after: float | None) -> Outcome:
    """Classify Google's general errors, and those of proxies between us and Google."""
    match status:
        case 400:
            return _invalid(error, said)
        case 413:
            return Rejected(Reason.TOO_LARGE, **said)
        case 401 | 403 | 404:  # our token, permission or project: not the device's fault
            return Deferred(Reason.SENDER_MISCONFIGURED, retry_after=retry_after, sender_fault=True, **said)
        case 408 | 429:
            return Deferred(Reason.THROTTLED, retry_after=_or_pause(retry_after), **said)
        case 502 | 504:  # a gateway lost its upstream: FCM may have accepted the message
            return Ambiguous(Reason.TIMED_OUT, f"HTTP {status}: {said['text']}")
        case _ if status >= 500:
            return Deferred(Reason.PROVIDER_UNAVAILABLE, retry_after=retry_after, **said)
        case _ if status < 400:  # a redirect or an odd success: not the API that we expect
            return Deferred(Reason.SENDER_MISCONFIGURED, sender_fault=True, **said)
        case _:
            return Rejected(Reason.PROVIDER_REJECTED, **said)
