"""Rule sets are published: put together, asked for their examples, and put in force as a whole."""

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
    """What somebody publishes. `acknowledged`: shipped rules that may lose examples of theirs. `emergency`: the rules
    of that layer alone, at once, whatever examples say. `replay`: what would change, as they have seen it."""

    note: str
    acknowledged: frozenset[str] = frozenset()
    emergency: bool = False
    replay: UUID | None = None


async def publish(deps: Bounce, principal: Principal, wanted: Publication) -> RuleSetRecord:
    """Puts all rules that take part in force, as a new set. Raises Invalid with all that speaks against it."""
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
    """The newest set; there is one always."""
    record = await deps.rule_sets.newest()
    assert record is not None  # the migration has put set 0
    return record


async def working(deps: Bounce, base: RuleSetRecord, *, emergency: bool = False) -> list[Published]:
    """What would be published: all rules in shadow and live, or those of the emergency layer over the set in force."""
    entries = published(await deps.rules.taking_part())
    if emergency:
        kept = [rule for rule in base.rules if rule.layer is not Layer.EMERGENCY]
        return [*kept, *(entry for entry in entries if entry.layer is Layer.EMERGENCY)]
    return entries


async def examined(
    deps: Bounce, entries: Sequence[Published], acknowledged: frozenset[str]
) -> tuple[Classifier, dict[str, Any], list[FieldError]]:
    """A set made ready, what its examples show, and what speaks against it. Raises Invalid where it cannot be."""
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
    """What a replay of the very same rules has shown. Raises Invalid, or Conflict where they have changed since."""
    if id is None:
        return {}
    replay = await deps.replays.get(principal.tenant, principal.mode, id)
    if replay is None or replay.result is None:
        raise Invalid(f"There is no replay {id} that is done; GET replays lists them.", pointer="/replay")
    if replay.result["after"]["rule_set"] != digest:
        raise Conflict("The replay was of other rules than those that would be published; play it again.")
    return {"replay": str(id), "appear": replay.result["appear"], "vanish": replay.result["vanish"]}


async def put_in_force(
    deps: Bounce, principal: Principal, record: RuleSetRecord, base: RuleSetRecord, seen: dict[str, Any] | None = None
) -> RuleSetRecord:
    """Stores a set with its line in the audit, and takes it over here. Raises Conflict where somebody was faster."""
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
    """Ids that differ between two sets: added, changed, removed."""
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
        "or take the example out.",
    )


def _taken(lost: Lost) -> FieldError:
    return FieldError(
        f"/rules/{lost.rule}/examples/{lost.number}",
        f"«{lost.text[:200]}» was decided by {lost.before.rule if lost.before else None} and now is by {lost.now.rule} "
        f"({lost.now.category}); where that is meant, name {lost.rule} under `acknowledged`.",
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
