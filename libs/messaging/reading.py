"""Outbox rows read back: what is readable as envelopes, what is not with the reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from libs.contracts.envelope import Envelope, UnknownEventType, decode
from libs.contracts.outcomes import Mode


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one envelope was not taken; `final` ones are never tried again."""

    reason: str
    final: bool


Entry = tuple[Any, Envelope]  # the outbox row, and what it says


def decoded(rows: Sequence[Any]) -> tuple[list[Entry], list[tuple[Any, Failure]]]:
    """The rows as envelopes, and those that cannot be read."""
    good: list[Entry] = []
    bad: list[tuple[Any, Failure]] = []
    for row in rows:
        try:
            data = decode(row["type"], row["payload"])
        except (msgspec.DecodeError, UnknownEventType, UnicodeDecodeError) as error:
            bad.append((row, Failure(f"unreadable: {error}", final=True)))
            continue
        good.append(
            (
                row,
                Envelope(
                    id=row["event_id"],
                    type=row["type"],
                    source=row["source"],
                    time=row["created_at"],
                    tenant=row["tenant"],
                    mode=Mode(row["mode"]),
                    key=row["partition_key"],
                    data=data,
                    subject=row["subject"],
                    traceparent=row["traceparent"],
                ),
            )
        )
    return good, bad


def grouped(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The rows by event type."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row["type"]].append(row)
    return groups
