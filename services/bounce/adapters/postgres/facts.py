"""Facts and their consequences: one transaction with their suppressions, figures and events."""

from collections import Counter as Counted
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import UniqueViolationError
from prometheus_client import Counter, Histogram

from libs.contracts.outcomes import Mode
from libs.messaging.outbox import Outgoing, append
from libs.privacy import redacted
from libs.storage.database import Database
from libs.storage.erasures import Erased
from libs.telemetry import get_logger
from services.bounce.adapters.postgres import domains
from services.bounce.adapters.postgres.breakers import Span, Tripped, doubts, look
from services.bounce.adapters.postgres.closing import close_by_facts
from services.bounce.adapters.postgres.erasing import forget, without_erased_names
from services.bounce.adapters.postgres.fact_rows import (
    COLUMNS,
    blocks_of,
    classified,
    decided,
    evidence_of,
    kind_of,
    proof_of,
    provider_of,
    refused,
    row_of,
)
from services.bounce.adapters.postgres.figures import add_blocks, add_figures
from services.bounce.adapters.postgres.histories import NOTHING, read_histories, with_proofs
from services.bounce.adapters.postgres.parking import confirm, park
from services.bounce.adapters.postgres.pruning import drop_facts_before
from services.bounce.adapters.postgres.reexamining import reexamine
from services.bounce.adapters.postgres.superseding import restate, supersede
from services.bounce.adapters.postgres.suppressions import changed, place_all
from services.bounce.adapters.postgres.tallies import add_tallies
from services.bounce.domain.breaker import Band
from services.bounce.domain.figures import Figures, Kind, hours_of
from services.bounce.domain.judging import Judged, judge_all
from services.bounce.domain.policy import Bars, Decision, Policy
from services.bounce.domain.suppressions import Evidence
from services.bounce.ports import NewFact, Reading

_facts = Counter("depesche_bounce_facts", "New facts about addresses", ["category", "provider", "origin"])
_unmatched = Counter("depesche_bounce_unmatched", "New facts whose words matched no rule", ["provider"])
_latency = Histogram(
    "depesche_bounce_latency_seconds",
    "From a server's reply to its consequences, in seconds",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3_600),
)
_opened = Counter("depesche_bounce_breaker_opened", "Times that a provider was no longer believed", ["provider"])
_barred = Counter("depesche_bounce_suppressions", "Suppressions placed by evidence", ["reason"])

log = get_logger(__name__)

_DECIDED = """
update bounce b set decision = d.decision, policy = d.policy, doubtful = b.doubtful or d.doubtful
from unnest($1::uuid[], $2::smallint[], $3::text[], $4::boolean[]) as d (id, decision, policy, doubtful)
where b.id = d.id
"""
_KNOWN = "select id from bounce where id = any($1::uuid[])"


class _Overtaken(Exception):
    """Another transaction has added one of the same facts."""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """`policy` and `band` hold the limits for decisions."""

    database: Database
    policy: Policy
    band: Band

    async def record(self, facts: Sequence[NewFact], now: datetime) -> None:
        """Record new facts, what they bar, and both events, and close their mails. Repeats change nothing, unless the
        fact was superseded: then it counts again."""
        if not facts:
            return
        while (recorded := await self._recorded(facts, now)) is None:
            pass  # the other transaction's facts are visible now
        fresh, tripped = recorded
        _measure(fresh, now)
        for breaker in tripped:
            _opened.labels(breaker.provider).inc()
            usual = round(breaker.expected)
            log.error(
                "breaker_opened", provider=breaker.provider, mode=breaker.mode.word, count=breaker.refused, usual=usual
            )
            await reexamine(self.database, breaker, now)

    async def _recorded(self, facts: Sequence[NewFact], now: datetime) -> tuple[list[NewFact], list[Tripped]] | None:
        """Record the new ones, decided before they are written, so that each row is written once. Return None, having
        done nothing, if another transaction added one of them in the meantime."""
        ordered = sorted({fact.id: fact for fact in facts}.values(), key=lambda fact: fact.id)
        tripped: list[Tripped] = []
        try:
            async with self.database.transaction() as connection:
                ordered = await without_erased_names(connection, ordered)
                texts = {fact.id: redacted(fact.fact.text) for fact in ordered}
                known = {row[0] for row in await connection.fetch(_KNOWN, list(texts))}
                fresh = [fact for fact in ordered if fact.id not in known]
                waited = await close_by_facts(connection, facts, fresh)
                again = await restate(connection, [fact for fact in ordered if fact.id in known])
                if following := [fact for fact in ordered if fact.id not in known or fact.id in again]:
                    tripped = await look(connection, refused(fresh), self.band)
                    judged = await self._judged(connection, following, now)
                    await _add(connection, [row_of(fact, texts[fact.id], judged[fact.id], waited) for fact in fresh])
                    if again:
                        await connection.execute(_DECIDED, *decided(judged[id_] for id_ in again))
                    events = await self._follow(connection, following, set(texts) - known, judged, now)
                    await append(connection, [*(classified(fact, texts[fact.id]) for fact in fresh), *events])
        except _Overtaken:
            return None
        return fresh, tripped

    async def supersede(self, readings: Sequence[Reading], now: datetime) -> None:
        """Call it before recording the new reading: after a crash in between, the mails are read once more."""
        if readings:
            async with self.database.transaction() as connection:
                await supersede(connection, readings, now)

    async def _follow(
        self,
        connection: Any,
        facts: Sequence[NewFact],
        new: Set[UUID],
        judged: Mapping[UUID, Judged],
        now: datetime,
    ) -> list[Outgoing]:
        """Apply the consequences of facts; those not in `new` have been counted already."""
        bars: list[Evidence] = []
        parks: list[tuple[UUID, Evidence]] = []
        for fact in facts:
            one = judged[fact.id]
            if isinstance(one.verdict, Bars):
                evidence = evidence_of(fact, one.verdict)
                if one.breaker is not None and one.decision is Decision.PARKED:
                    parks.append((one.breaker, evidence))
                else:
                    bars.append(evidence)
        placed = await place_all(connection, bars)
        await confirm(connection, placed.all, now)
        parked = await park(connection, parks)
        await domains.ask(connection, judged.values(), now)
        began = {item.bounce_id for item in placed.began}
        fresh = [fact for fact in facts if fact.id in new]
        counted = Counted(
            [
                (kind_of(one), hour, one.id in new, judged[one.id].first, one.id in began, one.id in parked)
                for one, hour in zip(facts, hours_of(one.at for one in facts), strict=True)
            ]
        )
        await add_blocks(connection, blocks_of(fresh))
        await add_figures(connection, _figures(counted))
        await add_tallies(connection, fresh)
        for item in placed.began:
            _barred.labels(item.reason.word).inc()
        return [changed(item) for item in placed.all]

    async def _judged(self, connection: Any, facts: Sequence[NewFact], now: datetime) -> Mapping[UUID, Judged]:
        since = min(fact.at for fact in facts)
        addresses = {_address(fact) for fact in facts if fact.message}
        histories = await read_histories(connection, addresses, since - self.policy.proofs_within)
        spans = await doubts(connection, {provider_of(fact) for fact in facts}, since)
        doubted = any(spans.values())  # rarely
        breakers = {f.id: span.id for f in facts if (span := _span(spans[provider_of(f)], f))} if doubted else {}
        proofs = [proof_of(fact, doubtful=fact.id in breakers) for fact in facts]
        together = with_proofs(histories, [(_address(f), p) for f, p in zip(facts, proofs, strict=True) if f.message])
        cases = [(proof, together.get(_address(fact), NOTHING)) for fact, proof in zip(facts, proofs, strict=True)]
        return judge_all(cases, self.policy, now, breakers)

    async def forget(self, erased: Sequence[Erased]) -> None:
        async with self.database.transaction() as connection:
            await forget(connection, erased)

    async def drop_before(self, moment: datetime) -> int:
        return await drop_facts_before(self.database, moment)


def _figures(counted: Mapping[tuple[Kind, datetime, bool, bool, bool, bool], int]) -> Figures:
    """Return a transaction's figures: counts by kind and hour, new or counting again, whether first for their address,
    and whether they began to bar it or are parked."""
    figures = Figures()
    for (kind, hour, is_new, first, bars, parked), count in counted.items():
        new = count * is_new
        figures.add(kind, hour, facts=new, first=new * first, suppressed=count * bars, parked=count * parked)
    return figures


def _measure(facts: Sequence[NewFact], now: datetime) -> None:
    """Update Prometheus, in bulk because it takes a lock for each label set."""
    for names, count in Counted((f.fact.category, f.fact.provider or "", f.origin) for f in facts).items():
        _facts.labels(*names).inc(count)
    unread = (f.fact.provider or "" for f in facts if f.fact.rule is None and f.fact.rule_set is not None)
    for provider, count in Counted(unread).items():
        _unmatched.labels(provider).inc(count)
    for fact in facts:
        _latency.observe((now - fact.at).total_seconds())


def _address(fact: NewFact) -> tuple[int, Mode, bytes]:
    return fact.tenant, fact.mode, fact.address_hash


def _span(spans: Sequence[Span], fact: NewFact) -> Span | None:
    return next((span for span in spans if span.holds(fact.at)), None)


async def _add(connection: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows, which costs half of an insert. Raises _Overtaken."""
    if rows:
        try:
            await connection.copy_records_to_table("bounce", records=rows, columns=COLUMNS)
        except UniqueViolationError as error:
            raise _Overtaken from error
