"""The content of a rendered message, per channel: frozen values shared by preview, publish and the providers.

Everything here has been checked: links have an allowed scheme, header values are one line, sizes fit. Messages may
share an object (renders are memoised), so it must not be changed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

NOTHING: Mapping[str, str] = MappingProxyType({})


class PushContent(msgspec.Struct, frozen=True, gc=False):
    """A rendered push. `data` values are strings: FCM accepts no others."""

    title: str
    body: str
    image: str | None = None
    link: str | None = None
    data: Mapping[str, str] = NOTHING
    collapse_key: str | None = None
    ttl_seconds: int | None = None


class Woven(msgspec.Struct, frozen=True, gc=False):
    """A text as its template produced it: literals with the values between them, one literal more than values.

    `literals` are the same in every render of a template, so an encoder can process them once, and a cache of
    thousands of texts stores only what differs."""

    literals: tuple[str, ...]
    values: list[str]

    def __str__(self) -> str:
        pieces = [""] * (2 * len(self.values) + 1)
        pieces[::2], pieces[1::2] = self.literals, self.values
        return "".join(pieces)


class EmailContent(msgspec.Struct, frozen=True, gc=False):
    """A rendered mail: HTML and its text part (derived if the template has none), joined when it is read."""

    subject: str
    page: str | Woven
    words: str | Woven
    preheader: str | None = None  # already inside `html`; stored for preview
    from_name: str | None = None
    reply_to: str | None = None

    @property
    def html(self) -> str:
        return str(self.page)

    @property
    def text(self) -> str:
        return str(self.words)


class SmsContent(msgspec.Struct, frozen=True, gc=False):
    """A rendered SMS. `encoding` is `gsm-7` or `ucs-2`; `segments` is what the operator charges."""

    text: str
    segments: int = 1
    encoding: str = "gsm-7"


class WebhookContent(msgspec.Struct, frozen=True, gc=False):
    """A rendered webhook: the JSON body exactly as it is signed and sent."""

    body: bytes


Content = PushContent | EmailContent | SmsContent | WebhookContent


def parts_of(content: Content) -> dict[str, Any]:
    """Return a content by the names of its template's parts, for people to read."""
    if isinstance(content, WebhookContent):
        return {"json": content.body.decode()}
    names = {"page": "html", "words": "text"} if isinstance(content, EmailContent) else {}
    fields = [names.get(name, name) for name in content.__struct_fields__]
    parts = {name: getattr(content, name) for name in fields}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in parts.items()}
