"""Outbox rows decoded: readable ones as envelopes, the others with the reason."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from libs.contracts.envelope import EVENTS, Envelope, UnknownEventType, decode, exact
from libs.contracts.outcomes import Mode
from libs.messaging.bundles import Item, singles

_MODES = {int(mode): mode for mode in Mode}
_decoders: dict[str, msgspec.json.Decoder[list[Item[Any]]]] = {}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one envelope failed. `final` failures are never retried; those of an `outage` are retried for a day."""

    reason: str
    final: bool
    outage: bool = False


class Entry(NamedTuple):
    """An envelope with its outbox row and, if the row is a bundle, its place in it."""

    row: Any
    place: int
    envelope: Envelope

    def single(self) -> Mapping[str, Any]:
        """Return the event as its own row."""
        return _single(self.row, self.place)


Unread = tuple[Mapping[str, Any], Failure]


def decoded(rows: Sequence[Any]) -> tuple[list[Entry], list[Unread]]:
    """Decode rows of one type: the events as envelopes, and the unreadable ones as their own rows."""
    good: list[Entry] = []
    bad: list[Unread] = []
    for row in rows:
        for place, read in enumerate(_items(row)):
            if isinstance(read, Failure):
                bad.append((_single(row, place), read))
            else:
                good.append(Entry(row, place, _envelope(row, read)))
    return good, bad


def grouped(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Group the rows by event type."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row["type"]].append(row)
    return groups


def _items(row: Any) -> Iterator[Item[Any] | Failure]:
    """Yield a row's events. An unreadable event does not affect its neighbours."""
    if row["entries"] > 1:
        try:
            yield from _decoder(row["type"]).decode(row["payload"])
            return
        except (msgspec.DecodeError, UnknownEventType, UnicodeDecodeError):
            pass
    for single in singles(row) if row["entries"] > 1 else [row]:
        try:
            data = decode(single["type"], single["payload"])
        except (msgspec.DecodeError, UnknownEventType, UnicodeDecodeError) as error:
            yield Failure(f"unreadable: {error}", final=True)
            continue
        yield Item(single["event_id"], single["subject"], single["partition_key"], single["traceparent"], data)


def _decoder(type_: str) -> msgspec.json.Decoder[list[Item[Any]]]:
    if (known := _decoders.get(type_)) is None:
        if type_ not in EVENTS:
            raise UnknownEventType(type_)
        known = _decoders[type_] = msgspec.json.Decoder(list[Item[EVENTS[type_]]], float_hook=exact)  # type: ignore[valid-type]
    return known


def _envelope(row: Any, item: Item[Any]) -> Envelope:
    return Envelope(
        id=item.id,
        type=row["type"],
        source=row["source"],
        time=row["created_at"],
        tenant=row["tenant"],
        mode=_MODES[row["mode"]],
        key=item.key,
        data=item.data,
        subject=item.subject,
        traceparent=item.traceparent,
    )


def _single(row: Any, place: int) -> Mapping[str, Any]:
    single: Mapping[str, Any] = singles(row)[place] if row["entries"] > 1 else row
    return single
