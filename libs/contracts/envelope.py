"""The envelope of every event, and the registry of event types.

Topic = type + major version (`message.recorded.v1`). Readers ignore unknown fields, and a version never gains
required fields, so publisher and subscriber may run different releases.
"""

from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every contract. Subclasses set TYPE (`noun.past-participle`) and SOURCE (the publisher's app id)."""

    TYPE: ClassVar[str] = ""
    SOURCE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    MAY_WAIT: ClassVar[bool] = False  # high volume and not urgent: published in the second lane

    @classmethod
    def topic(cls) -> str:
        return f"{cls.TYPE}.v{cls.VERSION}"


E = TypeVar("E", bound=type[Event])

EVENTS: dict[str, type[Event]] = {}


def declared(cls: E) -> E:
    """Register an event. Two declarations of one type raise TypeError at import."""
    if not cls.TYPE or cls.TYPE in EVENTS:
        raise TypeError(f"{cls.__name__}: TYPE {cls.TYPE!r} is missing or declared twice")
    EVENTS[cls.TYPE] = cls
    return cls


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An event on the bus: the CloudEvents context attributes and ours, with typed data.

    `key` is the partition key (recipient or cause); `subject` is what support searches by (the order number)."""

    id: UUID
    type: str
    source: str
    time: datetime
    tenant: int
    mode: Mode
    key: str
    data: Any  # an instance of EVENTS[type]
    subject: str | None = None
    traceparent: str | None = None


class UnknownEventType(ValueError):
    """A type that no module of libs.contracts declares."""


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoders: dict[str, msgspec.json.Decoder[Any]] = {}


def encode(event: Event) -> bytes:
    """Return the event's data as JSON bytes; decimals keep the digits they came in with."""
    return _encoder.encode(event)


def decode(type_: str, payload: bytes) -> Any:
    """Return an instance of the type declared for `type_`. Raises UnknownEventType or msgspec.DecodeError."""
    decoder = _decoders.get(type_)
    if decoder is None:
        if type_ not in EVENTS:
            raise UnknownEventType(type_)
        decoder = _decoders[type_] = msgspec.json.Decoder(EVENTS[type_], float_hook=exact)
    return decoder.decode(payload)


def exact(literal: str) -> Any:
    """Return the value of a literal with decimals."""
    # float fields still convert; untyped JSON (event data) keeps 19.90 exactly
    from decimal import Decimal

    return Decimal(literal)
