"""Publishes rule sets: assembled, tested with their examples, and put in force as a whole."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.errors import Conflict, FieldError, Invalid
from libs.telemetry import get_logger
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rules.assembling import Shipped, problems_of
from services.bounce.domain.rules.entries import Published, State, published
from services.bounce.domain.rules.regression import Lost, own_lost, taken
from services.bounce.domain.rules.rule import Layer
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.rules import rules_only_of_operator, unfit
from services.bounce.ports.rules import RuleSetRecord, UnfitPattern

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication. `acknowledged`: shipped rules that may lose some of their examples. `emergency`: only the rules of
    that layer, at once, whatever examples show. `replay`: its result, as reviewed by the author."""

    note: str
    acknowledged: frozenset[str] = frozenset()
    emergency: bool = False
    replay: UUID | None = None


async def publish(deps: Bounce, principal: Principal, wanted: Publication) -> RuleSetRecord:
    """Put all rules that take part in force, as a new set. Raises Invalid with all problems."""
    rules_only_of_operator(principal)
    base = await in_force(deps)
    entries = await working(deps, base, emergency=wanted.emergency)
    if list(base.rules) == entries:
        raise Conflict(f"Nothing differs from rule set {base.number}, which is in force.")
    made, regression, against = await examined(deps, entries, wanted.acknowledged)
    if against and not wanted.emergency:
        raise Invalid.many(against)
    digest = made.rules.digest
    seen = await _seen(deps, principal, wanted.replay, digest)
    record = RuleSetRecord(
        base.number + 1,
        digest,
        tuple(entries),
        wanted.emergency,
        None,
        principal.actor,
        wanted.note,
        deps.clock(),
        regression,
    )
    return await put_in_force(deps, principal, record, base, seen)


async def in_force(deps: Bounce) -> RuleSetRecord:
    """Return the newest set; there is always one."""
    record = await deps.rule_sets.newest()
    assert record is not None  # the migration inserts set 0
    return record


async def working(deps: Bounce, base: RuleSetRecord, *, emergency: bool = False) -> list[Published]:
    """Return what would be published: all rules in shadow and live, or the emergency layer over the set in force."""
    entries = published(await deps.rules.taking_part())
    if emergency:
        kept = [rule for rule in base.rules if rule.layer is not Layer.EMERGENCY]
        return [*kept, *(entry for entry in entries if entry.layer is Layer.EMERGENCY)]
    return entries


async def examined(
    deps: Bounce, entries: Sequence[Published], acknowledged: frozenset[str]
) -> tuple[Classifier, dict[str, Any], list[FieldError]]:
    """Prepare a set; return it with its examples' results and all problems. Raises Invalid if it cannot be built."""
    shipped = deps.workshop.shipped
    if found := problems_of(shipped, entries):
        raise Invalid.many([FieldError(f"/rules/{id_}{p.pointer}", p.words) for id_, listed in found for p in listed])
    try:
        made = await deps.workshop.prepare(entries)
    except UnfitPattern as error:
        raise Invalid.many(_unfit(error, entries)) from error
    current = await deps.rulebook.current()
    own, others = await asyncio.to_thread(_shown, shipped, made, current)
    open_ = [lost for lost in others if lost.rule not in acknowledged]
    regression = {
        "examples": sum(len(rule.examples) for rule in {*shipped.rules, *made.rules.rules}),
        "failed": [_kept(lost) for lost in own],
        "taken": [_kept(lost) | {"acknowledged": lost.rule in acknowledged} for lost in others],
    }
    deciding = {entry.id for entry in entries if entry.state is State.LIVE}
    return made, regression, [*(_failed(lost) for lost in own if lost.rule in deciding), *map(_taken, open_)]


def _shown(shipped: Shipped, made: Classifier, current: Classifier) -> tuple[list[Lost], list[Lost]]:
    return own_lost(made), taken(shipped.rules, made, current)


async def _seen(deps: Bounce, principal: Principal, id: UUID | None, digest: str) -> dict[str, Any]:
    """Return the result of a replay of exactly these rules. Raises Invalid, or Conflict if they have changed since."""
    if id is None:
        return {}
    replay = await deps.replays.get(principal.tenant, principal.mode, id)
    if replay is None or replay.result is None:
        raise Invalid(f"There is no finished replay {id}; `depesche bounce replays` lists them.", pointer="/replay")
    if replay.result["after"]["rule_set"] != digest:
        raise Conflict("The replay used other rules than those to be published; run it again.")
    return {"replay": str(id), "appear": replay.result["appear"], "vanish": replay.result["vanish"]}


async def put_in_force(
    deps: Bounce, principal: Principal, record: RuleSetRecord, base: RuleSetRecord, seen: dict[str, Any] | None = None
) -> RuleSetRecord:
    """Store a set with its audit entry, and put it in force here. Raises Conflict if somebody was faster."""
    action = ActionRecorded(
        actor=principal.actor,
        action="rule-set.roll-back" if record.restores is not None else "rule-set.publish",
        object=str(record.number),
        at=record.published_at,
        before={"number": base.number, "digest": base.digest},
        after={"number": record.number, "digest": record.digest, "emergency": record.emergency}
        | ({"restores": record.restores} if record.restores is not None else {})
        | changes(base.rules, record.rules)
        | (seen or {}),
        note=record.note,
    )
    await deps.rule_sets.add(record, action, principal)
    await deps.workshop.refresh()
    log.info("rule_set_published", rule_set=record.number)
    return record


def changes(before: Sequence[Published], after: Sequence[Published]) -> dict[str, list[str]]:
    """Return ids that differ between two sets: added, changed, removed."""
    was: Mapping[str, Published] = {rule.id: rule for rule in before}
    now: Mapping[str, Published] = {rule.id: rule for rule in after}
    return {
        "added": sorted(now.keys() - was.keys()),
        "changed": sorted(id_ for id_ in now.keys() & was.keys() if now[id_] != was[id_]),
        "removed": sorted(was.keys() - now.keys()),
    }


def _failed(lost: Lost) -> FieldError:
    said = lost.now.rule or "no rule"
    return FieldError(
        f"/rules/{lost.rule}/examples/{lost.number}",
        f"«{lost.text[:200]}» is decided by {said} ({lost.now.category}): raise the rule's priority, narrow the other, "
        "or remove the example.",
    )


def _taken(lost: Lost) -> FieldError:
    return FieldError(
        f"/rules/{lost.rule}/examples/{lost.number}",
        f"«{lost.text[:200]}» was decided by {lost.before.rule if lost.before else None} and now is by {lost.now.rule} "
        f"({lost.now.category}); if that is intended, name {lost.rule} under `acknowledged`.",
    )


def _unfit(error: UnfitPattern, entries: Sequence[Published]) -> list[FieldError]:
    for entry in entries:
        problem = unfit(error, entry.document)
        if problem.pointer != "/regex" or entry.document.get("regex") == error.pattern.decode():
            return [FieldError(f"/rules/{entry.id}{problem.pointer}", problem.words)]
    return [FieldError("/rules", error.why)]


def _kept(lost: Lost) -> dict[str, Any]:
    found = {"rule": lost.rule, "number": lost.number, "text": lost.text, "now": lost.now._asdict()}
    return found | ({"before": lost.before._asdict()} if lost.before else {})
