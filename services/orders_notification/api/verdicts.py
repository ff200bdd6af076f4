"""Verdicts as shown in batches and streams."""

from collections.abc import Sequence
from typing import Any

from libs.errors import BadRequest, FieldError, Permanent
from services.orders_notification.domain.intake import REJECTED, Verdict

_MOST_ERRORS = 20


def shown(event_id: str, verdict: Verdict) -> dict[str, Any]:
    """Return the result of an event that could be parsed."""
    told: dict[str, Any] = {"status": verdict.status, "event_id": event_id, "id": verdict.id}
    if verdict.decided is not None:
        told["notifications"] = sum(len(request.recipients) for request in verdict.decided.requests)
    if verdict.errors:
        told |= _errors(verdict.reason.word, verdict.errors) | {"detail": verdict.detail}
    return told


def refusal(error: Permanent) -> dict[str, Any]:
    """Return the result of an event that could not be parsed: `malformed` JSON, or an `invalid` CloudEvent."""
    reason = "malformed" if isinstance(error, BadRequest) else "invalid"
    errors = error.errors or (FieldError("", error.detail),)
    return {"status": REJECTED, **_errors(reason, errors), "detail": error.detail}


def _errors(reason: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    return {
        "reason": reason,
        "pointer": errors[0].pointer,
        "errors": [{"pointer": error.pointer, "detail": error.detail} for error in errors[:_MOST_ERRORS]],
    }
