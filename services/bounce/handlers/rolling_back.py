"""Restores an earlier rule set, and undoes what the later sets have barred and it would not have."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.auth import Principal
from libs.contracts.outcomes import Mode
from libs.errors import NotFound
from libs.ids import uuid7
from libs.telemetry import get_logger
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rules.effects import Difference, difference, is_effect
from services.bounce.domain.undoing import Selection, Undo, Undone
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.rule_sets import in_force, put_in_force
from services.bounce.handlers.rules import rules_only_of_operator
from services.bounce.ports import Preview
from services.bounce.ports.rules import JudgedBy, RuleSetRecord

log = get_logger(__name__)

_PAGE = 1_000
_LOOKED_AFTER = timedelta(minutes=10)  # replicas may classify by the old set for some more seconds
_MOST_LOOKED_AFTER = 50  # sets within that time


@dataclass(frozen=True, slots=True)
class RollBack:
    """Which set, and whether to lift what was barred since."""

    number: int
    note: str
    undo_effects: bool


class Effects(NamedTuple):
    """Facts of one tenant and mode that are wrong by the earlier set."""

    tenant: int
    mode: Mode
    facts: tuple[UUID, ...]


async def roll_back(deps: Bounce, principal: Principal, wanted: RollBack) -> tuple[RuleSetRecord, Undone]:
    """Put an earlier set in force again, as a new one. Raises NotFound. Working rules stay as they are."""
    rules_only_of_operator(principal)
    base, target = await in_force(deps), await _target(deps, wanted.number)
    made = await deps.workshop.prepare(target.rules)
    record = replace(
        target,
        number=base.number + 1,
        digest=made.rules.digest,
        emergency=False,
        restores=target.number,
        undoes=wanted.undo_effects,
        author=principal.actor,
        note=wanted.note,
        published_at=deps.clock(),
    )
    await put_in_force(deps, principal, record, base)
    return record, await undo_effects(deps, record) if wanted.undo_effects else Undone()


async def preview(deps: Bounce, principal: Principal, number: int, examples: int) -> list[Preview]:
    """Return what an undo of the effects would change, by tenant and mode."""
    rules_only_of_operator(principal)
    base, target = await in_force(deps), await _target(deps, number)
    found = await _effects(deps, target, base.number)
    return [await deps.suppressions.preview(_selection(deps, one, one.facts), examples) for one in found]


async def undo_effects(deps: Bounce, record: RuleSetRecord, spared: Collection[str] = ()) -> Undone:
    """Lift what the sets before a rolled-back one have barred and it would not have. Repeatable.

    `spared`: digests of sets that were put in force since; their classifications are intended.
    """
    assert record.restores is not None
    target = await _target(deps, record.restores)
    undo = Undo(uuid7(), deps.clock(), record.author, record.note)
    done = Undone()
    for one in await _effects(deps, target, record.number - 1, spared):
        for start in range(0, len(one.facts), _PAGE):
            wanted = _selection(deps, one, one.facts[start : start + _PAGE])
            while batch := await deps.suppressions.undo(wanted, undo):
                done += batch
    if done:
        log.info("rule_set_effects_undone", rule_set=record.number, count=done.lifted)
    return done


async def look_after(deps: Bounce, settled: int) -> int:
    """Undo what other replicas classified by old sets after they were rolled back, whatever was published since.
    `settled`, passed and returned: the last set that needs no more undoing."""
    newest = await deps.rule_sets.newest(settled)
    if newest is None:
        return settled
    young = [
        record
        for record in await deps.rule_sets.page(newest.number + 1, _MOST_LOOKED_AFTER)
        if record.number > settled and deps.clock() - record.published_at < _LOOKED_AFTER
    ]
    undoing = [record for record in young if record.undoes]
    for record in undoing:
        since = {later.digest for later in young if later.number > record.number}
        await undo_effects(deps, record, since)
    return min((record.number for record in undoing), default=newest.number + 1) - 1


async def _target(deps: Bounce, number: int) -> RuleSetRecord:
    record = await deps.rule_sets.get(number)
    if record is None:
        raise NotFound(f"There is no rule set {number}; `depesche bounce rules sets` lists them.")
    return record


async def _effects(deps: Bounce, target: RuleSetRecord, newest: int, spared: Collection[str] = ()) -> list[Effects]:
    """Return the effects of all sets after the target up to the newest."""
    there = await deps.workshop.prepare(target.rules)
    found: dict[tuple[int, Mode], list[UUID]] = {}
    seen: set[str] = set(spared)
    for number in range(target.number + 1, newest + 1):
        record = await deps.rule_sets.get(number)
        assert record is not None  # set numbers are consecutive
        here = await deps.workshop.prepare(record.rules)
        digests = sorted(set(await deps.rule_sets.digests(number)) - seen - {there.rules.digest})
        differs = difference(here.rules, there.rules)
        seen.update(digests)
        if not differs or not digests:
            continue
        # a mail may have arrived long before it was classified, but not longer ago than its bytes are kept
        since = record.published_at - timedelta(days=deps.settings.raw_retention_days)
        for tenant, mode in await deps.judgements.realms(since):
            rules = None if differs.only_there else sorted(differs.only_here)
            wanted = JudgedBy(tenant, mode, since, digests, rules, _PAGE)
            found.setdefault((tenant, mode), []).extend(await _facts(deps, wanted, there, differs))
    return [Effects(*realm, tuple(facts)) for realm, facts in found.items() if facts]


async def _facts(deps: Bounce, wanted: JudgedBy, there: Classifier, differs: Difference) -> Sequence[UUID]:
    found: list[UUID] = []
    after = None
    while rows := await deps.judgements.page(wanted, after):
        found += await asyncio.to_thread(_wrong, rows, there, differs)
        after = rows[-1]["at"], rows[-1]["id"]
    return found


def _wrong(facts: Sequence[Mapping[str, Any]], there: Classifier, differs: Difference) -> list[UUID]:
    return [fact["id"] for fact in facts if is_effect(fact, there, differs)]


def _selection(deps: Bounce, realm: Effects, facts: tuple[UUID, ...]) -> Selection:
    now = deps.clock()
    return Selection(realm.tenant, realm.mode, now - timedelta(days=400), now + timedelta(days=1), facts=facts)
