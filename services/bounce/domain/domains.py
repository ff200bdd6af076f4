"""Owns what the DNS says of a domain that has no mail, it was said, and when it is asked again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.contracts.outcomes import Word


class DomainState(Word):
    ASKED = 0  # not answered yet
    DEAD = 1
    ALIVE = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS said. `takes_mail` None: no answer (SERVFAIL, a time-out), which says nothing about the domain."""

    takes_mail: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`again`: how long an answer holds. Without one it is asked sooner, each time later, up to that."""

    again: timedelta = timedelta(hours=24)
    sooner: timedelta = timedelta(minutes=5)

    def next_at(self, now: datetime, tries: int) -> datetime:
        """`tries`: answers that did not come, one after the other; 0 where one came."""
        return now + (min(self.again, self.sooner * 2 ** min(tries - 1, 12)) if tries else self.again)
