"""Owns what the DNS says of a domain that has no mail, it was said, and when it is asked again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.contracts.outcomes import Word

POLICY = "domain-check"

_LONGEST = timedelta(days=30)


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
class Domain:
    """A domain that was said to have no mail. `tries`: questions without an answer, one after the other."""

    name: str
    state: DomainState
    since: datetime
    tries: int


def after(domain: Domain, answer: Answer, now: datetime) -> Domain:
    """The domain after an answer; no answer changes nothing but the count of tries."""
    if answer.takes_mail is None:
        return Domain(domain.name, domain.state, domain.since, min(domain.tries + 1, 1_000))
    state = DomainState.ALIVE if answer.takes_mail else DomainState.DEAD
    return Domain(domain.name, state, domain.since if state is domain.state else now, 0)


def ask_again_at(domain: Domain, now: datetime, again: timedelta) -> datetime | None:
    """When the domain is looked at next; None: when it is said again that it has no mail.

    What has been dead for a year is asked less often than what was there yesterday.
    """
    if domain.tries:
        return now + min(again, timedelta(minutes=5 * 2.0 ** min(domain.tries - 1, 12)))
    if domain.state is DomainState.DEAD:
        return now + min(_LONGEST, max(again, (now - domain.since) / 4))
    return None
