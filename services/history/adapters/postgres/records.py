"""Searches and counts the audit in Postgres, over the view `record`.

To return the newest first, a search reads the last hour, then the four hours before it, the sixteen before those, until
the page is full. A BRIN index on time finds each range; only rows of the page are sorted.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts.outcomes import Channel, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.ids import first_id_at, parse_message_id, time_of
from libs.storage.database import Database
from services.history.domain.records import Record
from services.history.domain.search import (
    IDENTIFIERS,
    INTERVALS,
    MOST_GROUPS,
    AuditSearch,
    Group,
    Grouping,
    foreign_cursor,
    too_broad,
    too_many_groups,
)
from services.history.ports import RecordPage

_FIRST_WINDOW = timedelta(hours=1)
_WIDER = 4
_MOST_CAUSES = 20

# words on the wire that are stored as numbers
_NUMBERS: dict[str, dict[str, int]] = {
    "was": {member.word: int(member) for member in Status},
    "status": {member.word: int(member) for member in Status},
    "channel": {member.word: int(member) for member in Channel},
    "receipt": {member.word: int(member) for member in ReceiptKind},
    "reason": {"requested": 0} | {reason.word: int(reason) for reason in Reason if reason},
}
_WORDS: dict[str, dict[int, str]] = {
    name: {number: word for word, number in words.items()} for name, words in _NUMBERS.items()
}
_TERMED = ("communication", "event_type", "event_source")
_HASHED = ("recipient", "subject")  # indexed by hash, compared in full
_TEXTUAL = (
    "kind message locale provider provider_ref enhanced_code error category group origin scope event_id actor action "
    "object"
).split()
_TYPED = {"cause": "uuid", "notification": "uuid", "release": "uuid", "address_key": "bigint"}
_TYPED |= dict.fromkeys(("sender", "attempt", "reply_code"), "smallint") | dict.fromkeys(("final", "active"), "boolean")

# searches need the planner's full choice: the pool's settings are tuned for lookups by key
_SETTINGS = """
select set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'on', true),
  set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true)
"""
_TERMS = "select word, id from term where word = any ($1::text[])"
_TERM_WORDS = "select id, word from term where id = any ($1::int[])"
_CAUSES = """
select distinct cause_id from request
where hashtextextended(subject, 0) = any (select hashtextextended(s, 0) from unnest($1::text[]) s)
  and subject = any ($1) and tenant = $2 and mode = $3 limit $4
"""


@dataclass(slots=True)
class _Where:
    """Conditions and their numbered parameters."""

    values: list[Any] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def put(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition in which each `{}` stands for the next value."""
        self.conditions.append(condition.format(*(self.put(value) for value in values)))

    def __str__(self) -> str:
        return " and ".join(self.conditions)


@dataclass(frozen=True, slots=True)
class PostgresRecords:
    """Raises Invalid for searches that run longer than `seconds`."""

    database: Database
    seconds: float

    async def search(self, wanted: AuditSearch, limit: int, after: list[Any] | None) -> RecordPage:
        """Page by time and id: rows that arrive later are newer than the first page, or older than the current one."""
        place = _place(after)
        rows: list[Any] = []
        async with self._reading() as connection:
            where = await _conditions(connection, wanted)
            until, width = (place[0] + timedelta(microseconds=1) if place else wanted.until), _FIRST_WINDOW
            until = min(until, wanted.until)
            while until > wanted.since and len(rows) <= limit:
                since = max(wanted.since, until - width)
                rows += await _window(connection, where, (since, until), place, limit + 1 - len(rows))
                until, width = since, width * _WIDER
            words = await _words_of(connection, rows)
        found = [_record(row, words) for row in rows[:limit]]
        last = rows[limit - 1] if len(rows) > limit else None
        return RecordPage(found, [last["at"].isoformat(), last["kind"], last["id"]] if last else None)

    async def counts(self, wanted: AuditSearch, grouping: Grouping) -> list[Group]:
        async with self._reading() as connection:
            where = await _conditions(connection, wanted)
            _between(where, wanted.since, wanted.until)
            columns = [_counted_by(name, where, grouping) for name in grouping.by]
            there = " and ".join(f"{column} is not null" for column in columns)
            statement = f"select {', '.join(columns)}, count(*) from record where {where} and {there}"  # noqa: S608
            statement += f" group by {', '.join(map(str, range(1, len(columns) + 1)))} limit {MOST_GROUPS + 1}"
            rows = await connection.fetch(statement, *where.values)
            if len(rows) > MOST_GROUPS:
                raise too_many_groups()
            words = await _words_of_groups(connection, grouping.by, rows)
        return _groups(grouping.by, rows, words)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        async with self.database.snapshot() as connection:
            await connection.fetch(_SETTINGS, f"{max(1, int(self.seconds * 1000))}ms")
            try:
                yield connection
            except (asyncpg.QueryCanceledError, TimeoutError) as error:
                raise too_broad(self.seconds) from error


async def _window(connection: Any, where: _Where, span: tuple[datetime, datetime], place: Any, rows: int) -> list[Any]:
    inside = _Where(list(where.values), list(where.conditions))
    _between(inside, *span)
    if place is not None:
        inside.add("(at, kind, id) < ({}::timestamptz, {}::text, {}::text)", *place)
    statement = f"select * from record where {inside} order by at desc, kind desc, id desc limit {rows}"  # noqa: S608
    return list(await connection.fetch(statement, *inside.values))


def _between(where: _Where, since: datetime, until: datetime) -> None:
    where.add("at >= {} and at < {}", since, until)
    ids = first_id_at(since), first_id_at(until + timedelta(milliseconds=1))
    where.add("(decided is null or (decided >= {} and decided < {}))", *ids)


async def _conditions(connection: Any, wanted: AuditSearch) -> _Where:
    where = _Where()
    where.add("tenant = {}::smallint and mode = {}::smallint", wanted.tenant, int(wanted.mode))
    terms = await _term_ids(connection, wanted)
    for name, values in wanted.filters.items():
        _filter(where, name, list(values), terms)
    if subjects := wanted.filters.get("subject"):
        await _only_their_messages(connection, where, wanted, list(subjects))
    for term in wanted.terms:
        place = where.put(term.text)
        same = " or ".join(f'"{name}" = {place}' for name in IDENTIFIERS)
        said = f"to_tsvector('simple', detail) @@ phraseto_tsquery('simple', {place})"
        found = f"coalesce(({said}), false) or coalesce(({same}), false)"
        where.conditions.append(f"not ({found})" if term.without else f"({found})")
    return where


def _filter(where: _Where, name: str, values: list[Any], terms: dict[str, int]) -> None:
    if name == "type":
        ids = [terms[value] for value in values if value in terms]
        where.add("(type = any ({}::text[]) or type_term = any ({}::int[]))", values, ids)
    elif name == "reason":
        numbers = [_NUMBERS[name][value] for value in values if value in _NUMBERS[name]]
        where.add("(reason = any ({}::smallint[]) or reason_word = any ({}::text[]))", numbers, values)
    elif name in _NUMBERS:
        where.add(f"{name} = any ({{}}::smallint[])", [_NUMBERS[name][v] for v in values if v in _NUMBERS[name]])
    elif name in _TERMED:
        where.add(f"{name} = any ({{}}::int[])", [terms[value] for value in values if value in terms])
    elif name in _HASHED:
        place = where.put(values)
        hashes = f"(select array_agg(hashtextextended(v, 0)) from unnest({place}::text[]) v)::bigint[]"  # noqa: S608
        where.conditions.append(f"hashtextextended({name}, 0) = any ({hashes}) and {name} = any ({place}::text[])")
    elif name in _TYPED:
        where.add(f"{name} = any ({{}}::{_TYPED[name]}[])", [UUID(v) if _TYPED[name] == "uuid" else v for v in values])
    else:
        where.add(f'"{name}" = any ({{}}::text[])', values)
    if name == "message":
        where.add("(message_of is null or message_of = any ({}::uuid[]))", [parse_message_id(v)[0] for v in values])


async def _only_their_messages(connection: Any, where: _Where, wanted: AuditSearch, subjects: list[str]) -> None:
    """A message's id begins with its cause's time bits: scan ranges of the key instead of all messages of the time."""
    rows = await connection.fetch(_CAUSES, subjects, wanted.tenant, int(wanted.mode), _MOST_CAUSES + 1)
    if len(rows) > _MOST_CAUSES:
        return
    ranges = ["message_of is null"]
    for row in rows:
        first = first_id_at(time_of(row["cause_id"]))
        last = UUID(int=first.int | (1 << 80) - 1)
        ranges.append(f"message_of between {where.put(first)} and {where.put(last)}")
    where.conditions.append(f"({' or '.join(ranges)})")


async def _term_ids(connection: Any, wanted: AuditSearch) -> dict[str, int]:
    asked = [value for name in (*_TERMED, "type") for value in wanted.filters.get(name, ())]
    return {row["word"]: row["id"] for row in await connection.fetch(_TERMS, asked)} if asked else {}


async def _words_of(connection: Any, rows: Sequence[Any]) -> dict[int, str]:
    ids = {row[name] for row in rows for name in (*_TERMED, "type_term")} - {None}
    return {row["id"]: row["word"] for row in await connection.fetch(_TERM_WORDS, list(ids))} if ids else {}


async def _words_of_groups(connection: Any, by: Sequence[str], rows: Sequence[Any]) -> dict[int, str]:
    places = [place for place, name in enumerate(by) if name in _TERMED]
    ids = {row[place] for row in rows for place in places}
    ids |= {int(row[place]) for row in rows for place, name in enumerate(by) if name == "type" and row[place].isdigit()}
    return {row["id"]: row["word"] for row in await connection.fetch(_TERM_WORDS, list(ids))} if ids else {}


def _counted_by(name: str, where: _Where, grouping: Grouping) -> str:
    if name in INTERVALS:
        return f"date_trunc('{name}', at, {where.put(grouping.zone.key)}::text)"
    if name == "type":
        return "coalesce(type, type_term::text)"
    if name == "reason":
        return "coalesce(reason::text, reason_word)"
    return f'"{name}"'


def _groups(by: Sequence[str], rows: Sequence[Any], words: dict[int, str]) -> list[Group]:
    """Merge reasons that are our number in some rows and a word of a body in others."""
    counted: dict[tuple[Any, ...], int] = {}
    for row in rows:
        values = tuple(_worded(name, row[place], words) for place, name in enumerate(by))
        counted[values] = counted.get(values, 0) + row[-1]
    return [Group(values, count) for values, count in counted.items()]


def _worded(name: str, value: Any, words: dict[int, str]) -> Any:
    if name in _TERMED:
        return words[value]
    if name == "type":
        return words[int(value)] if value.isdigit() else value
    if name == "reason":
        return _WORDS[name].get(int(value), value) if value.isdigit() else value
    return _WORDS[name].get(value, value) if name in _WORDS else value


def _record(row: Any, words: dict[int, str]) -> Record:
    fields = {name: row[name] for name in (*_TEXTUAL, *_HASHED, *_TYPED, "detail")}
    fields |= {name: _WORDS[name].get(row[name]) for name in _WORDS}
    fields |= {name: words.get(row[name]) for name in _TERMED}
    return Record(
        **fields | {"reason": row["reason_word"] or fields["reason"]},
        id=row["id"],
        type=row["type"] or words[row["type_term"]],
        at=row["at"],
        tenant=row["tenant"],
        mode=Mode(row["mode"]),
        body=row["body"] or {},
    )


def _place(after: list[Any] | None) -> tuple[datetime, str, str] | None:
    if after is None:
        return None
    try:
        at, kind, id_ = after
        moment = datetime.fromisoformat(at)
    except (TypeError, ValueError) as error:
        raise foreign_cursor() from error
    if moment.tzinfo is None or not isinstance(kind, str) or not isinstance(id_, str):
        raise foreign_cursor()
    return moment, kind, id_
