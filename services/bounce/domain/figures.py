"""Owns what is counted: facts and their consequences, by hour and by day, in the dimensions people query."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from libs.contracts.outcomes import Mode, Word


class Grain(Word):
    """The width of time buckets. The narrow ones leave out domain and communication: six times fewer rows to sum up for
    most queries."""

    HOUR = 0
    DAY = 1
    NARROW_HOUR = 2
    NARROW_DAY = 3

    @property
    def narrow(self) -> "Grain":
        return Grain(self | 2)


class Place(NamedTuple):
    """The key of a count; its order is the one in which rows are locked."""

    tenant: int
    mode: int
    grain: int
    bucket: datetime
    category: str
    provider: str
    from_domain: str
    communication: str


class Kind(NamedTuple):
    """The dimensions of a fact: its owner, and what it is grouped by."""

    tenant: int
    mode: Mode
    category: str
    provider: str = ""
    from_domain: str = ""
    communication: str = ""


_HOUR = timedelta(hours=1)


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def hours_of(moments: Iterable[datetime]) -> Iterator[datetime]:
    """Yield the hour (UTC) of each moment; most share the previous one's."""
    begin = end = datetime.min.replace(tzinfo=UTC)
    for at in moments:
        if not begin <= at < end:
            begin = hour_of(at)
            end = begin + _HOUR
        yield begin


@dataclass(slots=True)
class Counts:
    """`first`: facts about addresses without earlier facts. The others count suppressions."""

    facts: int = 0
    first: int = 0
    suppressed: int = 0
    lifted: int = 0
    parked: int = 0


@dataclass(slots=True)
class Figures:
    """The counts that one transaction adds."""

    rows: dict[Place, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def add(self, kind: Kind, at: datetime, **counts: int) -> None:
        """Count under the hour and under the day of a moment (UTC)."""
        hour = hour_of(at)
        wide, narrow = tuple(kind[2:]), (kind.category, kind.provider, "", "")
        for grain, bucket in ((Grain.HOUR, hour), (Grain.DAY, hour.replace(hour=0))):
            for place, names in ((grain, wide), (grain.narrow, narrow)):
                row = self.rows[Place(kind.tenant, int(kind.mode), int(place), bucket, *names)]
                for name, count in counts.items():
                    setattr(row, name, getattr(row, name) + count)
