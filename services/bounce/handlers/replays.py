"""What would be barred under other rules or settings: requested, run in the background, cancelled."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from libs.auth import Principal
from libs.errors import Invalid, NotFound, Permanent
from libs.ids import uuid7
from libs.telemetry import get_logger
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.replays import Replay, Side, Sums
from services.bounce.domain.rules.assembling import problems_of
from services.bounce.domain.rules.entries import Published
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.numbers import policy_of
from services.bounce.handlers.rule_sets import in_force, working
from services.bounce.ports.replays import Asked, ReplayRecord
from services.bounce.ports.rules import UnfitPattern

IN_FORCE, WORKING = "in-force", "working"
MOST_OPEN = 5
MOST_CHANGES = 200_000  # that are stored individually; all are counted
MOST_TURNS = 5

log = get_logger(__name__)


async def ask_for_replay(deps: Bounce, principal: Principal, asked: Asked) -> ReplayRecord:
    """Queue a replay. Raises Conflict if too many wait, NotFound or Invalid for unusable rules."""
    if asked.rules != IN_FORCE:
        await _entries(deps, asked.rules)
    now = deps.clock()
    replay = ReplayRecord(uuid7(), principal.tenant, principal.mode, asked, principal.actor, now, "waiting")
    await deps.replays.add(replay, MOST_OPEN)
    return replay


async def cancel_replay(deps: Bounce, principal: Principal, id: UUID) -> ReplayRecord:
    """Stop it after the current batch; one that has ended stays as it is. Raises NotFound."""
    await found(deps, principal, id)
    await deps.replays.cancel(principal.tenant, principal.mode, id, deps.clock())
    return await found(deps, principal, id)


async def found(deps: Bounce, principal: Principal, id: UUID) -> ReplayRecord:
    """Raises NotFound."""
    replay = await deps.replays.get(principal.tenant, principal.mode, id)
    if replay is None:
        raise NotFound(f"There is no replay {id}; `depesche bounce replays` lists them.")
    return replay


async def run_next(deps: Bounce, stop: asyncio.Event) -> bool:
    """Run one waiting replay; falsy if there is none."""
    replay = await deps.replays.lease(deps.clock())
    if replay is None:
        return False
    if replay.turn > MOST_TURNS:
        await deps.replays.conclude(replay, deps.clock(), None, "It was started five times and never finished.")
        return True
    try:
        await _run(deps, replay, stop)
    except Permanent as error:
        await deps.replays.conclude(replay, deps.clock(), None, error.detail)
    return True


async def _run(deps: Bounce, replay: ReplayRecord, stop: asyncio.Event) -> None:
    asked, realm = replay.asked, (replay.tenant, replay.mode)
    before = Side(await deps.rulebook.current(), policy_of(deps.settings))
    after = Side(await _classifier(deps, asked.rules), policy_of(deps.settings, asked.settings))
    known = max(side.policy.longest_memory for side in (before, after))
    span = (asked.since - known, asked.until)
    played, done, kept = Replay(before, after, asked.since), 0, 0
    total = await deps.stored.count(realm, span)
    batches = deps.stored.by_address(realm, span)
    async for batch in batches:
        # off the event loop: mail keeps arriving meanwhile
        changes = await asyncio.to_thread(played.take, batch)
        numbered = list(enumerate(changes[: MOST_CHANGES - kept], start=kept + 1))
        kept += len(numbered)
        done += sum(len(told.facts) for told in batch)
        if not await deps.replays.advance(replay, min(done, total), total, numbered):
            log.info("replay_left", tenant=replay.tenant, count=done)
            return
        if stop.is_set():
            await deps.replays.give_back(replay)
            return
    await deps.replays.conclude(replay, deps.clock(), result_of(played, kept), None)
    log.info("replay_done", tenant=replay.tenant, count=played.facts)


async def _classifier(deps: Bounce, rules: str) -> Classifier:
    """Return a classifier by the requested rules. Raises NotFound, or Invalid if they cannot form a set."""
    if rules == IN_FORCE:
        return await deps.rulebook.current()
    entries = await _entries(deps, rules)
    try:
        return await deps.workshop.prepare(entries)
    except UnfitPattern as error:
        raise Invalid(f"The engine cannot compile a rule's pattern: {error.why}", pointer="/rules") from error


async def _entries(deps: Bounce, rules: str) -> Sequence[Published]:
    if rules == WORKING:
        entries: Sequence[Published] = await working(deps, await in_force(deps))
        if problems := problems_of(deps.workshop.shipped, entries):
            listed = ", ".join(id_ for id_, _ in problems)
            raise Invalid(f"The rules in their current state cannot form a rule set: see {listed}.", pointer="/rules")
        return entries
    record = await deps.rule_sets.get(int(rules))
    if record is None:
        raise NotFound(f"There is no rule set {rules}; `depesche bounce rules sets` lists them.")
    return record.rules


def result_of(played: Replay, kept: int) -> dict[str, Any]:
    """Return what is stored of a replay besides its changes."""
    moved = sorted(played.moves.items(), key=lambda item: (-item[1][0], str(item[0])))
    before, after = played.categories
    return {
        "facts": played.facts,
        "addresses": played.addresses,
        "before": _sums(played, 0),
        "after": _sums(played, 1),
        "appear": played.appear,
        "vanish": played.vanish,
        "kept": kept,
        "appearing": _counted(played.appearing),
        "vanishing": _counted(played.vanishing),
        "categories": [
            {"category": category, "provider": provider, "before": before[key], "after": after[key]}
            for key in sorted(before.keys() | after.keys())
            for category, provider in [key]
        ],
        "moves": [
            {
                "provider": move.provider,
                "was": move.was._asdict(),
                "becomes": move.becomes._asdict(),
                "count": count,
                "bounce": str(example),
            }
            for move, (count, example) in moved
        ],
    }


def _sums(played: Replay, number: int) -> Mapping[str, Any]:
    sums: Sums = played.sums[number]
    side = (played.before, played.after)[number]
    return {
        "rule_set": side.classifier.rules.digest,
        "barred_all": sums.barred_all,
        "barred_marketing": sums.barred_marketing,
        "parked": sums.parked,
    }


def _counted(counter: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"category": category, "provider": provider, "count": count}
        for (category, provider), count in counter.most_common()
    ]
