"""What reports add to their figures: the verdict of the rules in force today, and which rule would help."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from libs.auth import Principal
from libs.errors import Conflict, NotFound
from services.bounce.domain.classifier import UNDETERMINED, Classifier, Verdict
from services.bounce.domain.rereading import reply_of
from services.bounce.domain.rules.entries import State, Wanted
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.suggesting import suggestion
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.rules import Saved, put_rule
from services.bounce.ports.reports import Realm, UnreadQuery

SHOWN_DAYS = 30


def realm_of(principal: Principal) -> Realm:
    """Return whose facts a user's reports are about: all tenants' for those who manage rules, else their own."""
    manages = principal.operates and (principal.may("rules:write") or principal.may("rules:publish"))
    return Realm(None if manages else principal.tenant, principal.mode)


def figures_kept_since(deps: Bounce) -> tuple[datetime, date]:
    """Return the start of the hourly figures, and of the daily ones."""
    now, settings = deps.clock(), deps.settings
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    by_hour = midnight - timedelta(days=settings.hourly_figures_kept_days)
    return by_hour, (midnight - timedelta(days=settings.figures_kept_days)).date()


async def rules_without_a_hit(deps: Bounce, realm: Realm, since: date) -> list[dict[str, Any]]:
    """Return rules in force that have not matched since that day, by id, each with its last hit before."""
    rules = (await deps.rulebook.current()).rules.rules
    last = await deps.reports.last_hits(realm, [rule.id for rule in rules])
    alive = {id_ for id_, hit in last.items() if hit["last_at"].date() >= since}
    dead = sorted((rule for rule in rules if rule.id not in alive), key=lambda rule: rule.id)
    return [
        {
            "rule": rule.id,
            "category": rule.category,
            "layer": rule.layer.word,
            "last_at": last[rule.id]["last_at"] if rule.id in last else None,
            "last_bounce": last[rule.id]["last_bounce"] if rule.id in last else None,
        }
        for rule in dead
    ]


async def counted(deps: Bounce, principal: Principal, rules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return these rules' hits of the last days, and when they matched last."""
    realm = realm_of(principal)
    since = deps.clock().date() - timedelta(days=SHOWN_DAYS - 1)
    sums, last = await deps.reports.hits(realm, since, rules), await deps.reports.last_hits(realm, rules)
    none = {"decided": 0, "outdone": 0, "shadow": 0}
    return {
        id_: {name: sums.get(id_, none)[name] for name in none}
        | {"last_at": last[id_]["last_at"] if id_ in last else None}
        for id_ in rules
    }


async def unread_texts(deps: Bounce, wanted: UnreadQuery) -> Sequence[dict[str, Any]]:
    """Return unmatched replies, each with the rule that would match it today."""
    rows = await deps.reports.unread(wanted)
    classifier = await deps.rulebook.current()
    return [dict(row) | {"read_by": _read(row, classifier).rule if row["text"] else None} for row in rows]


async def draft_rule(deps: Bounce, principal: Principal, wanted: UnreadQuery, category: str | None) -> Saved:
    """Draft a rule that matches one template. Raises NotFound, or Conflict if it has no distinctive words."""
    rows = await deps.reports.unread(wanted)
    if not rows:
        raise NotFound(
            f"No unmatched reply has the template {wanted.template}; `depesche bounce reports unread` lists them."
        )
    row = rows[0]
    meant = category or row["vendor_category"] or row["model_category"] or UNDETERMINED
    made = suggestion(row, meant) if row["template"] else None
    if made is None:
        raise Conflict("Its text has no words that distinguish it from other replies; write the rule by its codes.")
    id_ = str(made.pop("id"))

    def match(version: int | None) -> None:
        if version is not None:
            raise Conflict(f"The rule {id_} already has such words; change that one.")

    return await put_rule(deps, principal, Wanted(id_, Layer.ORGANISATION, State.DRAFT, made), match)


def _read(row: Mapping[str, Any], classifier: Classifier) -> Verdict:
    return classifier.classify(reply_of(row))
