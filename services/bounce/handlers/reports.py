"""What reports say beside their figures: what the rules in force make of it today, and which rule would help."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from libs.contracts.outcomes import Mode
from libs.errors import Conflict, NotFound
from services.bounce.domain.classifier import Classifier, Verdict
from services.bounce.domain.rereading import reply_of
from services.bounce.domain.suggesting import suggestion
from services.bounce.handlers.deps import Bounce
from services.bounce.ports.reports import UnreadQuery


async def rules_without_a_hit(deps: Bounce, realm: tuple[int, Mode], since: date) -> list[dict[str, Any]]:
    """Rules in force that have not matched since that day, by id, each with its last hit before."""
    rules = (await deps.rulebook.current()).rules.rules
    alive = await deps.reports.hits(realm, since)
    dead = sorted((rule for rule in rules if rule.id not in alive), key=lambda rule: rule.id)
    last = await deps.reports.last_hits(realm, [rule.id for rule in dead])
    return [
        {
            "rule": rule.id,
            "category": rule.category,
            "layer": rule.layer.name.lower(),
            "last_at": last[rule.id]["last_at"] if rule.id in last else None,
            "last_bounce": last[rule.id]["last_bounce"] if rule.id in last else None,
        }
        for rule in dead
    ]


async def unread_texts(deps: Bounce, wanted: UnreadQuery) -> Sequence[dict[str, Any]]:
    """What no rule knew, each with the rule that would read it today."""
    rows = await deps.reports.unread(wanted)
    classifier = await deps.rulebook.current()
    return [dict(row) | {"read_by": _read(row, classifier).rule if row["text"] else None} for row in rows]


async def suggest_rule(deps: Bounce, wanted: UnreadQuery, category: str | None) -> dict[str, Any]:
    """A rule for one template of what no rule knew. Raises NotFound, or Conflict where there is nothing to go by."""
    rows = await deps.reports.unread(wanted)
    if not rows:
        raise NotFound(f"Nothing unread has the template {wanted.template}; GET reports/unread-texts lists them.")
    row = rows[0]
    meant = category or row["vendor_category"] or row["model_category"] or "undetermined"
    made = suggestion(row, meant) if row["template"] else None
    if made is None:
        raise Conflict("Its text has no words that tell it from other replies; write the rule by its codes.")
    now = _read(row, await deps.rulebook.current())
    return {"rule": made, "wins": now.strength < 400, "instead_of": now.rule}


def _read(row: Mapping[str, Any], classifier: Classifier) -> Verdict:
    return classifier.classify(reply_of(row))
