"""Rule sets over HTTP: published as a whole, and rolled back in one call."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.errors import NotFound
from libs.paging import INTEGERS, After, Limit, Page, page_of, read_cursor
from libs.web import Router
from services.bounce.api import Reader, deps_of
from services.bounce.api.deciding import EXAMPLES, UndoShown, previewed
from services.bounce.api.rule_shapes import (
    PublishBody,
    PublishedRule,
    Regression,
    RollBackBody,
    RolledBack,
    RuleDocument,
    RuleSetHead,
    RuleSetShown,
)
from services.bounce.handlers.rolling_back import RollBack, preview, roll_back
from services.bounce.handlers.rule_sets import Publication, publish
from services.bounce.ports import Preview
from services.bounce.ports.rules import RuleSetRecord

router = Router(prefix="/v1/rule-sets", tags=["rules"])

Publisher = Annotated[Principal, scope("rules:publish")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="The rule set's number.", examples=[6])]


@router.get("")
async def list_rule_sets(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[RuleSetHead]:
    """List rule sets, the one in force first."""
    (below,) = read_cursor(cursor, int) or (INTEGERS - 1,)
    found = await deps_of(request).rule_sets.page(below, limit + 1)
    return page_of(found, limit, lambda record: RuleSetHead(**_head(record)), lambda record: (record.number,))


@router.post("", status_code=201)
async def publish_rule_set(
    request: Request, response: Response, principal: Publisher, body: PublishBody
) -> RuleSetShown:
    """Put all rules in shadow and live in force; the next mail is classified by them, on every replica within seconds.

    All problems are reported at once: a live rule that loses one of its own examples, and a shipped rule whose examples
    another one would decide, unless it is named under `acknowledged`.
    """
    wanted = Publication(body.note, frozenset(body.acknowledged), body.emergency, body.replay)
    record = await publish(deps_of(request), principal, wanted)
    response.headers["location"] = f"/bounce/v1/rule-sets/{record.number}"
    return _shown(record)


@router.get("/{number}")
async def show_rule_set(request: Request, principal: Reader, number: Number) -> RuleSetShown:
    """Return a rule set with its rules as published."""
    record = await deps_of(request).rule_sets.get(number)
    if record is None:
        raise NotFound(f"There is no rule set {number}; `depesche bounce rules sets` lists them.")
    return _shown(record)


@router.post(
    "/{number}:roll-back", status_code=201, responses={200: {"model": RolledBack, "description": "A preview."}}
)
async def roll_back_to(
    request: Request, response: Response, principal: Publisher, number: Number, body: RollBackBody
) -> RolledBack:
    """Put an earlier set in force again, under a new number. 0: only the shipped rules.

    `undo_effects` lifts, for every tenant, what the sets since have barred and this one would not have; what it would
    have barred too stays. `preview` reports how much that is, with examples.
    """
    deps = deps_of(request)
    if body.preview:
        response.status_code = 200
        return RolledBack(rule_set=None, effects=_together(await preview(deps, principal, number, EXAMPLES)))
    record, done = await roll_back(deps, principal, RollBack(number, body.note, body.undo_effects))
    response.headers["location"] = f"/bounce/v1/rule-sets/{record.number}"
    effects = UndoShown(preview=False, lifted=done.lifted, dropped=done.dropped, void=done.void)
    return RolledBack(rule_set=RuleSetHead(**_head(record)), effects=effects)


def _together(seen: Sequence[Preview]) -> UndoShown:
    shown = [previewed(one) for one in seen]
    counts = {name: sum(getattr(one, name) for one in shown) for name in ("lifted", "dropped", "void")}
    groups = [group for one in shown for group in one.groups]
    return UndoShown(
        preview=True, **counts, groups=groups, examples=[e for one in shown for e in one.examples][:EXAMPLES]
    )


def _head(record: RuleSetRecord) -> dict[str, object]:
    fields = {name: getattr(record, name) for name in RuleSetHead.model_fields if name != "count"}
    return fields | {"count": len(record.rules)}


def _shown(record: RuleSetRecord) -> RuleSetShown:
    rules = [
        PublishedRule(
            id=rule.id,
            layer=rule.layer.word,
            state=rule.state.word,
            version=rule.version,
            document=RuleDocument(**rule.document),
        )
        for rule in record.rules
    ]
    return RuleSetShown(**_head(record), regression=Regression(**record.regression), rules=rules)
