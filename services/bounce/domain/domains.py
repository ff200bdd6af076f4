"""Owns what the DNS says about a domain reported to have no mail, and when it is queried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.contracts.outcomes import Word

POLICY = "domain-check"

_LONGEST = timedelta(days=30)


class DomainState(Word):
    ASKED = 0  # no answer yet
    DEAD = 1
    ALIVE = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """The DNS's answer. `takes_mail` None: no answer (SERVFAIL, a timeout), which says nothing about the domain."""

    takes_mail: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain reported to have no mail. `tries`: consecutive queries without an answer."""

    name: str
    state: DomainState
    since: datetime
    tries: int


def after(domain: Domain, answer: Answer, now: datetime) -> Domain:
    """Return the domain after an answer; a missing answer changes only the count of tries."""
    if answer.takes_mail is None:
        return Domain(domain.name, domain.state, domain.since, min(domain.tries + 1, 1_000))
    state = DomainState.ALIVE if answer.takes_mail else DomainState.DEAD
    return Domain(domain.name, state, domain.since if state is domain.state else now, 0)


def ask_again_at(domain: Domain, now: datetime, again: timedelta) -> datetime | None:
    """Return when to query the domain next; None: when it is next reported to have no mail.

    A domain that has been dead for a year is queried less often than one that existed yesterday.
    """
    if domain.tries:
        return now + min(again, timedelta(minutes=5 * 2.0 ** min(domain.tries - 1, 12)))
    if domain.state is DomainState.DEAD:
        return now + min(_LONGEST, max(again, (now - domain.since) / 4))
    return None
