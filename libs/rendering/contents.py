"""What a rendered message is, per channel: frozen values that preview, publish and the providers share.

Everything in here has been checked: links have an allowed scheme, header values are one line, sizes fit.
The same object may be shared between messages (renders are memoised), so nothing in it may be changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PushContent:
    """A rendered push. `data` values are strings: FCM takes no others."""

    title: str
    body: str
    image: str | None = None
    link: str | None = None
    data: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    collapse_key: str | None = None
    ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class EmailContent:
    """A rendered mail: HTML and its text part (derived where the template has none)."""

    subject: str
    html: str
    text: str
    preheader: str | None = None  # already inside `html`; kept for preview
    from_name: str | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class SmsContent:
    """A rendered SMS. `encoding` is `gsm-7` or `ucs-2`; `segments` is what the operator charges."""

    text: str
    segments: int = 1
    encoding: str = "gsm-7"


@dataclass(frozen=True, slots=True)
class WebhookContent:
    """A rendered webhook: the JSON body exactly as it is signed and sent."""

    body: bytes


Content = PushContent | EmailContent | SmsContent | WebhookContent
