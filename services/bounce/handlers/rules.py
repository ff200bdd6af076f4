"""People's work on rules: create, change, retire and test them. None of it puts anything in force."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from libs.ids import OPERATOR
from services.bounce.domain.rules.assembling import rule_of_entry
from services.bounce.domain.rules.entries import NEXT, TAKING_PART, Entry, Published, State, Wanted
from services.bounce.domain.rules.regression import Lost, lost_of
from services.bounce.domain.rules.rule import BadRule, Problem
from services.bounce.handlers.deps import Bounce
from services.bounce.ports.rules import UnfitPattern

MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


class Saved(NamedTuple):
    """`lost`: examples of the rule that it would not decide if it were in force now."""

    entry: Entry
    created: bool
    lost: list[Lost]


async def put_rule(deps: Bounce, principal: Principal, wanted: Wanted, match: MatchVersion) -> Saved:
    """Create or change a rule. Raises Invalid with everything that is wrong with it."""
    rules_only_of_operator(principal)
    before = await deps.rules.get(wanted.id)
    match(before.version if before else None)
    _check_step(deps, before, wanted)
    entry = _next(deps, principal, before, wanted)
    lost = await _tried(deps, entry)
    await deps.rules.put(entry, _action(deps, principal, "rule.put", before, entry), principal)
    return Saved(entry, before is None, lost)


async def retire_rule(deps: Bounce, principal: Principal, id: str) -> Entry:
    """Retire a rule; the next rule set is without it. Raises NotFound."""
    rules_only_of_operator(principal)
    before = await deps.rules.get(id)
    if before is None:
        raise unknown(deps, id)
    if before.state is State.RETIRED:
        return before
    wanted = Wanted(id, before.layer, State.RETIRED, before.document)
    entry = _next(deps, principal, before, wanted)
    await deps.rules.put(entry, _action(deps, principal, "rule.retire", before, entry), principal)
    return entry


def rules_only_of_operator(principal: Principal) -> None:
    """A server's words mean the same for every tenant, in live and test: one tenant manages the rules."""
    if not principal.operates:
        raise Forbidden(f"Rules apply to all tenants and modes; change them with a live key of tenant {OPERATOR}.")


def unknown(deps: Bounce, id: str) -> NotFound | Conflict:
    """Return the error for a change of a rule that people did not write."""
    if any(rule.id == id for rule in deps.workshop.shipped.rules):
        return Conflict(
            f"{id} is a shipped rule, which cannot be edited. Write a rule with another id in the layer organisation; "
            f'with "switches_off": ["{id}"] it replaces this one.',
            pointer="/id",
        )
    return NotFound(f"There is no rule {id}; `depesche bounce rules list` shows the ids.")


def invalid(problems: Sequence[Problem], within: str = "") -> Invalid:
    """Return all problems as one error; `within`: the pointer of the rule in the request."""
    return Invalid.many([FieldError(f"{within}{problem.pointer}", problem.words) for problem in problems])


def unfit(error: UnfitPattern, document: Mapping[str, Any]) -> Problem:
    """Return the engine's error about one of the rule's expressions."""
    listed = document.get("regex") or ()
    expressions = listed if isinstance(listed, list | tuple) else (listed,)
    at = next((n for n, one in enumerate(expressions) if one.encode() == error.pattern), None)
    pointer = "/regex" if at is None or listed is not expressions else f"/regex/{at}"
    return Problem(
        pointer, f"the engine cannot compile it: {error.why} Write it as phrases, or as several expressions."
    )


def _check_step(deps: Bounce, before: Entry | None, wanted: Wanted) -> None:
    if before is None and any(rule.id == wanted.id for rule in deps.workshop.shipped.rules):
        raise unknown(deps, wanted.id)
    if before is not None and wanted.state not in NEXT[before.state]:
        raise Conflict(f"A {before.state.word} rule must return as a draft first; save it as one.", pointer="/state")
    if before is not None and wanted.layer is not before.layer:
        raise Conflict(f"The rule is in the layer {before.layer.word}; create another one here.", pointer="/layer")


def _next(deps: Bounce, principal: Principal, before: Entry | None, wanted: Wanted) -> Entry:
    now = deps.clock()
    if before is None:
        return Entry(*wanted, 1, principal.actor, now, principal.actor, now)
    return replace(
        before,
        state=wanted.state,
        document=wanted.document,
        version=before.version + 1,
        changed_by=principal.actor,
        changed_at=now,
    )


async def _tried(deps: Bounce, entry: Entry) -> list[Lost]:
    """Compile it with the rules in force, not with others' drafts, and test its examples. Raises Invalid."""
    state = entry.state if entry.state in TAKING_PART else State.LIVE
    own = Published(entry.id, entry.layer, state, entry.version, entry.document)
    try:
        rule = rule_of_entry(own, deps.workshop.shipped)
        if rule is None or entry.state is State.RETIRED:
            return []
        record = await deps.rule_sets.newest()
        others = [other for other in record.rules if other.id != entry.id] if record else []
        return lost_of(rule, await deps.workshop.prepare([*others, own]))
    except BadRule as error:
        raise invalid(error.problems) from error
    except UnfitPattern as error:
        raise invalid([unfit(error, entry.document)]) from error


def _action(deps: Bounce, principal: Principal, action: str, before: Entry | None, entry: Entry) -> ActionRecorded:
    return ActionRecorded(
        actor=principal.actor,
        action=action,
        object=entry.id,
        at=deps.clock(),
        before=_plain(before) if before else None,
        after=_plain(entry),
        note=str(entry.document.get("note") or "") or None,
    )


def _plain(entry: Entry) -> dict[str, Any]:
    head = {"layer": entry.layer.word, "state": entry.state.word, "version": entry.version}
    return head | {name: value for name, value in entry.document.items() if name != "note"}
