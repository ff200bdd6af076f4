"""Owns the audit's queries: filters, words, a time range, and their limits.

Words are parsed here and not by a store's query language, so a user's text is never an expression: it cannot contain
wildcards, field names or regular expressions.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from libs import exact_json
from libs.contracts.outcomes import Mode
from libs.errors import Invalid

MOST_CHARACTERS = 200
MOST_WORDS = 10
MOST_VALUES = 20  # per filter
MOST_DAYS = 366
MOST_GROUPS = 10_000

# Filters besides the time: values match whole, and any of the given values may match.
WORDS = (
    "kind type subject recipient communication message status was reason channel locale provider provider_ref receipt "
    "enhanced_code error category group origin scope event_id event_type event_source actor action object"
).split()
NUMBERS = ("sender", "attempt", "reply_code", "address_key")
IDS = ("cause", "notification", "release")
TRUTHS = ("final", "active")
# A word of `q` may also equal one of these.
IDENTIFIERS = ("subject", "recipient", "event_id", "provider_ref", "object", "actor", "error", "enhanced_code")
# Fields to count by: each has few values.
GROUPED = (
    "kind type status reason channel communication receipt provider category group origin event_type event_source "
    "sender action actor error enhanced_code"
).split()
INTERVALS = ("hour", "day")

_TERM = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True, slots=True)
class Term:
    """One word, or a phrase; `without`: it must not occur."""

    text: str
    without: bool = False


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """Records of one tenant and mode with since <= at < until that match all terms and one value of each filter."""

    tenant: int
    mode: Mode
    since: datetime
    until: datetime
    filters: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    terms: tuple[Term, ...] = ()

    def fingerprint(self) -> str:
        """Equal for equal queries; a cursor carries it, so that it cannot be used with another query."""
        asked = [self.tenant, self.mode.word, self.since.isoformat(), self.until.isoformat()]
        said = sorted((name, sorted(map(str, values))) for name, values in self.filters.items())
        raw = exact_json.dumps([asked, said, [[term.text, term.without] for term in self.terms]])
        return hashlib.blake2b(raw, digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Grouping:
    """The fields to count by: one or two of GROUPED and INTERVALS; days and hours are those of `zone`."""

    by: tuple[str, ...]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Group:
    """The number of records with these values, in the order of `by`; a day or hour is given by its start."""

    values: tuple[Any, ...]
    count: int


def in_order(groups: Iterable[Group], grouping: Grouping) -> list[Group]:
    """Sort by time where days or hours are counted, else the most frequent first."""
    timed = next((place for place, name in enumerate(grouping.by) if name in INTERVALS), None)
    if timed is None:
        return sorted(groups, key=lambda group: (-group.count, [str(value) for value in group.values]))
    return sorted(groups, key=lambda group: (group.values[timed], -group.count, [str(v) for v in group.values]))


def terms_of(text: str | None) -> tuple[Term, ...]:
    """Parse a search box: all words must occur; "a phrase"; -without. Raises Invalid."""
    if not text:
        return ()
    if len(text) > MOST_CHARACTERS:
        raise Invalid(f"A search has at most {MOST_CHARACTERS} characters.", pointer="q")
    found = [Term(quoted or bare, bool(minus)) for minus, quoted, bare in _TERM.findall(text)]
    terms = tuple(term for term in found if any(c.isalnum() for c in term.text))
    if not terms:
        raise Invalid("A search needs a word: letters or digits.", pointer="q")
    if len(terms) > MOST_WORDS:
        raise Invalid(f"A search has at most {MOST_WORDS} words.", pointer="q")
    return terms


def check_range(since: datetime, until: datetime) -> None:
    """Raise Invalid for a range that is empty or longer than a year."""
    if since >= until:
        raise Invalid("`from` must be before `to`.", pointer="from")
    if until - since > timedelta(days=MOST_DAYS):
        raise Invalid(f"A search covers at most {MOST_DAYS} days; give a later `from`.", pointer="from")


def check_grouping(by: tuple[str, ...]) -> None:
    """Raise Invalid for fields that cannot be counted by."""
    known = (*GROUPED, *INTERVALS)
    if unknown := [name for name in by if name not in known]:
        raise Invalid(f"Records cannot be counted by {unknown[0]!r}, only by {', '.join(known)}.", pointer="by")
    if not 1 <= len(by) <= 2 or len(set(by)) < len(by) or len(set(by) & set(INTERVALS)) > 1:
        raise Invalid("Count by one or two different fields, of which one may be `day` or `hour`.", pointer="by")


def too_broad(seconds: float) -> Invalid:
    """Return the error for a query that takes too long."""
    said = f"This query could not finish in {seconds:g} s. Give a shorter time range, or more filters."
    return Invalid(said, pointer="from")


def too_many_groups() -> Invalid:
    return Invalid(f"This makes more than {MOST_GROUPS:,} groups. Count by day, or a shorter time.", pointer="by")


def cursor_gone() -> Invalid:
    """Return the error for a cursor whose snapshot the store has dropped."""
    return Invalid("The cursor has expired: request pages within five minutes. Start over.", pointer="cursor")


def foreign_cursor() -> Invalid:
    return Invalid("The cursor belongs to another search; leave it out to start over.", pointer="cursor")
