"""Owns what is counted: facts and what followed from them, by hour and by day, in the dimensions people ask for."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from libs.contracts.outcomes import Mode, Word


class Grain(Word):
    """How finely time is divided. The narrow ones leave out domain and communication: six times fewer rows to sum up
    for most questions."""

    HOUR = 0
    DAY = 1
    NARROW_HOUR = 2
    NARROW_DAY = 3

    @property
    def narrow(self) -> "Grain":
        return Grain(self | 2)


class Place(NamedTuple):
    """Where something is counted; the order is the one in which rows are locked."""

    tenant: int
    mode: int
    grain: int
    bucket: datetime
    category: str
    provider: str
    from_domain: str
    communication: str


class Kind(NamedTuple):
    """The dimensions of a fact: whose it is, and what it is told apart by."""

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
    """The hour (UTC) of each; most lie in that of the one before."""
    begin = end = datetime.min.replace(tzinfo=UTC)
    for at in moments:
        if not begin <= at < end:
            begin = hour_of(at)
            end = begin + _HOUR
        yield begin


@dataclass(slots=True)
class Counts:
    """`first`: facts about addresses of which none was known. The others count suppressions."""

    facts: int = 0
    first: int = 0
    suppressed: int = 0
    lifted: int = 0
    parked: int = 0


@dataclass(slots=True)
class Figures:
    """What one transaction adds."""

    rows: dict[Place, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def add(self, kind: Kind, at: datetime, **counts: int) -> None:
        """Counts under the hour and under the day of a moment (UTC)."""
        hour = hour_of(at)
        wide, narrow = tuple(kind[2:]), (kind.category, kind.provider, "", "")
        for grain, bucket in ((Grain.HOUR, hour), (Grain.DAY, hour.replace(hour=0))):
            for place, names in ((grain, wide), (grain.narrow, narrow)):
                row = self.rows[Place(kind.tenant, int(kind.mode), int(place), bucket, *names)]
                for name, count in counts.items():
                    setattr(row, name, getattr(row, name) + count)
