"""`depesche bounce reports`: rules that never match or decide, and replies that no rule reads."""

from typing import Annotated

import typer

from cli.api import at
from cli.output import safe, table
from cli.session import Session, command
from cli.suppressions import Provider

reports = typer.Typer(help="Reports: what rules do, what no rule reads, and who disagrees.", no_args_is_help=True)

_PATH = "/bounce/v1/reports"
_DEAD = ("rule", "category", "layer", "last_at=last hit")
_OUTDONE = ("rule", "count", "by", "last_at=last hit")
_UNREAD = ("count", "provider", "template", "template_id=id", "vendor_category=vendor says", "read_by=now read by")
_OTHERS = ("count", "who", "other=they say", "category=we say", "rule", "provider", "text")

Limit = Annotated[int, typer.Option(help="Maximum number.", min=1)]


@command(reports, "dead", example="depesche bounce reports dead --days 180")
def dead(
    session: Session,
    days: Annotated[int, typer.Option(help="Days without a hit.", min=1, max=400)] = 90,
    limit: Limit = 100,
) -> None:
    """List rules in force that never match."""
    found = list(session.api.items(f"{_PATH}/dead-rules", most=limit, days=days))
    session.give(found, lambda items: table(items, _DEAD, empty="Every rule has matched."))


@command(reports, "outdone", example="depesche bounce reports outdone")
def outdone(
    session: Session,
    days: Annotated[int, typer.Option(help="Number of days.", min=1, max=400)] = 30,
    limit: Limit = 50,
) -> None:
    """List rules that match but never decide, and the rules that do instead."""
    found = list(session.api.items(f"{_PATH}/outdone-rules", most=limit, days=days))
    lines = [item | {"by": ", ".join(f"{w['rule']} ({w['count']:,})" for w in item["winners"][:3])} for item in found]
    session.give(found, lambda _: table(lines, _OUTDONE, empty="Every matching rule decides sometimes."))


@command(reports, "unread", example="depesche bounce reports unread --provider gmail")
def unread(
    session: Session,
    days: Annotated[int, typer.Option(help="Number of days.", min=1, max=400)] = 7,
    provider: Provider = None,
    limit: Limit = 50,
) -> None:
    """List replies that no rule matched, the most frequent first."""
    found = list(session.api.items(f"{_PATH}/unread-texts", most=limit, days=days, provider=provider))
    session.give(found, lambda items: table(items, _UNREAD, empty="Every reply was read by a rule."))


@command(reports, "make-rule", example="depesche bounce reports make-rule 6f1c2a34-0b5e-4d77-9c1a-2b3c4d5e6f70")
def make_rule(
    session: Session,
    id: Annotated[str, typer.Argument(help="The template's id, from `depesche bounce reports unread`.")],
    category: Annotated[str | None, typer.Option(help="Its category: inactive.")] = None,
    provider: Provider = None,
) -> None:
    """Draft a rule that reads such replies."""
    body = {name: value for name, value in (("category", category), ("provider", provider)) if value}
    made = session.api.post(f"{at(f'{_PATH}/unread-texts', id)}:rule", body)
    session.give(
        made, lambda rule: f"A draft: {safe(rule['id'])}. See it with: depesche bounce rules show {rule['id']}"
    )


@command(reports, "disagreements", example="depesche bounce reports disagreements --who ses")
def disagreements(
    session: Session,
    days: Annotated[int, typer.Option(help="Number of days.", min=1, max=400)] = 30,
    who: Annotated[str | None, typer.Option(help="A vendor's name, or model.")] = None,
    limit: Limit = 50,
) -> None:
    """List replies that a vendor or the model reads differently."""
    found = list(session.api.items(f"{_PATH}/disagreements", most=limit, days=days, who=who))
    session.give(found, lambda items: table(items, _OTHERS, empty="Nobody disagrees."))
