"""FCM HTTP v1: the shape of a message, and the errors.

Shapes after https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages, errors after
https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode: opposite cases share a `status`, so callers must read
`details[].errorCode`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

_PAYLOAD_BYTES = 4096
_DURATION = re.compile(r"\d{1,12}(\.\d{1,9})?s")
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_RESERVED = re.compile(r"^(from|message_type|gcm.*|google.*|collapse_key)$")
# keys below these names are the sender's own, not proto fields
_FREE_FORM = frozenset({"data", "headers", "payload"})


class _Notification(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    title: str = ""
    body: str = ""
    image: str = ""


class _Android(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    collapse_key: str = ""
    priority: str | int = "NORMAL"
    ttl: str | None = None
    restricted_package_name: str = ""
    data: dict[str, str] | None = None
    notification: dict[str, Any] | None = None
    fcm_options: dict[str, Any] | None = None
    direct_boot_ok: bool = False
    bandwidth_constrained_ok: bool = False
    restricted_satellite_ok: bool = False


class _Apns(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    headers: dict[str, str] | None = None
    payload: dict[str, Any] | None = None
    fcm_options: dict[str, Any] | None = None
    live_activity_token: str = ""


class _Webpush(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    headers: dict[str, str] | None = None
    data: dict[str, str] | None = None
    notification: dict[str, Any] | None = None
    fcm_options: dict[str, Any] | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One message; exactly one of token, fid, topic and condition names its target."""

    token: str = ""
    fid: str = ""
    topic: str = ""
    condition: str = ""
    name: str = ""
    data: dict[str, str] | None = None
    notification: _Notification | None = None
    android: _Android | None = None
    apns: _Apns | None = None
    webpush: _Webpush | None = None
    fcm_options: dict[str, Any] | None = None

    def address(self) -> str:
        return self.token or self.fid or self.topic or self.condition

    def tag(self) -> str:
        """What makes a resend the same message on a device; else the tag in data; else the address."""
        if self.android is not None and (shown := self.android.notification) and (tag := shown.get("tag")):
            return str(tag)
        if self.apns is not None and (headers := self.apns.headers) and (tag := headers.get("apns-collapse-id")):
            return tag
        if self.data is not None and (tag := self.data.get("message")):
            return tag
        return f"{self.address()} {hash(str(self.notification)):x}"

    def attempt(self) -> int:
        """The attempt that the sender gives in data; else 0."""
        text = self.data.get("attempt", "") if self.data is not None else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of `messages:send`."""

    message: Message
    validate_only: bool = False


_decoder = msgspec.json.Decoder(Call)


@dataclass(frozen=True)
class Refusal(Exception):
    """An error of FCM; `code` is the one in details, empty if FCM gives none."""

    http: int
    status: str
    text: str
    code: str = ""
    extra: tuple[dict[str, Any], ...] = field(default=())

    def body(self) -> bytes:
        """The JSON document."""
        details = list(self.extra)
        if self.code:
            details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": self.code})
        error: dict[str, Any] = {"code": self.http, "message": self.text, "status": self.status}
        if details:
            error["details"] = details
        return msgspec.json.format(msgspec.json.encode({"error": error}), indent=2)


UNREGISTERED = Refusal(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
MISMATCH = Refusal(403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH")
QUOTA = Refusal(
    429,
    "RESOURCE_EXHAUSTED",
    "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'.",
    "QUOTA_EXCEEDED",
)
UNAVAILABLE = Refusal(503, "UNAVAILABLE", "The service is currently unavailable.", "UNAVAILABLE")
INTERNAL = Refusal(500, "INTERNAL", "Internal error encountered.", "INTERNAL")
THIRD_PARTY = Refusal(
    401,
    "UNAUTHENTICATED",
    "Request is missing required authentication credential: auth error from APNS or Web Push Service",
    "THIRD_PARTY_AUTH_ERROR",
)
UNAUTHENTICATED = Refusal(
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    extra=(
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "domain": "googleapis.com",
            "metadata": {"service": "fcm.googleapis.com"},
        },
    ),
)
NOT_A_TOKEN = "The registration token is not a valid FCM registration token"


def invalid(text: str, place: str) -> Refusal:
    """Return 400 INVALID_ARGUMENT with the wrong field."""
    violation = {"field": place, "description": text}
    fields = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
    return Refusal(400, "INVALID_ARGUMENT", text, "INVALID_ARGUMENT", (fields,))


def read(body: bytes) -> Call:
    """Parse the call, checked as FCM does; raises Refusal. Field names may be snake_case or camelCase, as in all of
    Google's JSON; the first is the fast path."""
    try:
        call = _decoder.decode(body)
    except msgspec.ValidationError as error:
        call = _read_camel(body, error)
    except msgspec.DecodeError as error:
        raise invalid(f"Invalid JSON payload received. {error}", "") from error
    _check(call.message, len(body))
    return call


def _read_camel(body: bytes, first: msgspec.ValidationError) -> Call:
    try:
        return msgspec.convert(_snake(msgspec.json.decode(body)), Call)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
        place = str(first).partition("$.")[2].rstrip("`")
        raise invalid(f"Invalid JSON payload received. {first}", place) from first


def _snake(value: Any) -> Any:
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (key if "-" in key else _CAMEL.sub(r"_\1", key).lower()): item if key in _FREE_FORM else _snake(item)
        for key, item in value.items()
    }


def _check(message: Message, size: int) -> None:
    named = bool(message.token) + bool(message.fid) + bool(message.topic) + bool(message.condition)
    if named != 1:
        text = "Recipient of the message is not set." if not named else "More than one recipient of the message is set."
        raise invalid(text, "message.token")
    if message.data:
        for key in message.data:
            if _RESERVED.match(key):
                raise invalid(f"Invalid data payload key: {key}", f"message.data[{key}]")
    android = message.android
    if android is not None and android.ttl is not None and not _DURATION.fullmatch(android.ttl):
        raise invalid(f"Invalid value at 'message.android.ttl', \"{android.ttl}\"", "message.android.ttl")
    if size > _PAYLOAD_BYTES and (place := _too_big(message)) is not None:
        raise invalid(f"{place} message is too big", f"message.{place.lower()}")


def _too_big(message: Message) -> str | None:
    """FCM limits what reaches the device, 4,096 bytes of notification and data, not the request's body."""
    android, apns, shown = message.android, message.apns, message.notification
    size = _bytes_of(message.data)
    if shown is not None:
        size += len(shown.title.encode()) + len(shown.body.encode()) + len(shown.image.encode())
    if android is not None:
        size += _bytes_of(android.data) + _bytes_of(android.notification)
    if size > _PAYLOAD_BYTES:
        return "Android"
    if apns is not None and apns.payload is not None and len(msgspec.json.encode(apns.payload)) > _PAYLOAD_BYTES:
        return "APNs"
    return None


def _bytes_of(mapping: Mapping[str, Any] | None) -> int:
    return sum(len(name.encode()) + len(str(value).encode()) for name, value in (mapping or {}).items())
