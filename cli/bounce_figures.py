"""`depesche bounce statistics`, `breakers`, `believe`, `drop`, `reputation`: bounces counted, blocked senders."""

from typing import Annotated, Any

import typer

from cli.api import at
from cli.moments import FORMS, TIME
from cli.output import table
from cli.session import Session, command
from cli.suppressions import Provider

commands = typer.Typer()  # part of `depesche bounce`

_PATH = "/bounce/v1"
_BREAKERS = f"{_PATH}/breakers"
_COUNTS = ("facts", "first", "repeated", "suppressed", "lifted", "parked", "undetermined")
_BREAKER = (
    "id",
    "provider",
    "state",
    "opened_at",
    "closed_at",
    "refused",
    "expected",
    "parked",
    "confirmed",
    "dropped",
)
_HEALTH = ("count", "sender", "about", "provider", "category", "last_at")

Note = Annotated[str, typer.Option(help="Why; recorded in the audit.")]
Breaker = Annotated[str, typer.Argument(help="The breaker's id, from `depesche bounce breakers`.")]
By = Annotated[
    list[str] | None, typer.Option(help="category, provider, from_domain or communication; may be repeated.")
]
Since = Annotated[str | None, typer.Option(**TIME, help=f"Start time: {FORMS}; default: 7d.")]
Until = Annotated[str | None, typer.Option(**TIME, help="End time; default: now.")]


@command(commands, "statistics", example="depesche bounce statistics --by category --by provider --grain none")
def statistics(
    session: Session,
    by: By = None,
    grain: Annotated[str, typer.Option(help="hour, day or none (UTC).")] = "day",
    since: Since = None,
    until: Until = None,
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    provider: Provider = None,
    from_domain: Annotated[str | None, typer.Option(help="Only mails from this domain.")] = None,
    communication: Annotated[str | None, typer.Option(help="Only this communication.")] = None,
) -> None:
    """Count bounces and their consequences."""
    query: dict[str, Any] = {"grain": grain, "by": by or [], "since": since, "until": until, "category": category}
    query |= {"provider": provider, "from_domain": from_domain, "communication": communication}
    found = session.api.get(f"{_PATH}/statistics", **query)
    columns = ("bucket",) if grain != "none" else ()
    session.give(found, lambda item: table(item["rows"], (*columns, *(by or ()), *_COUNTS), empty="No bounces."))
    if not session.as_json and found["rows"]:
        share = float(found["undetermined_share"])
        session.out.print(f"\n{found['totals']['facts']:,} facts; {share:.1%} of them could not be classified.")


@command(commands, "breakers", example="depesche bounce breakers --provider gmail")
def list_breakers(
    session: Session,
    provider: Provider = None,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50,
) -> None:
    """List when providers were not believed, newest first."""
    found = list(session.api.items(_BREAKERS, most=limit, provider=provider))
    session.give(found, lambda items: table(items, _BREAKER, empty="No breaker has opened so far."))


@command(commands, "believe", example='depesche bounce believe 0193c8a4-5d10-7c11-9a5e-7f0d1c2b3a49 --note "old list"')
def believe(session: Session, id: Breaker, note: Note) -> None:
    """Suppress the addresses that a breaker has parked: the mailboxes are really gone."""
    found = session.api.post(f"{at(_BREAKERS, id)}:release", {"note": note})
    session.give(found, lambda item: f"{item['count']:,} addresses are suppressed.")


@command(commands, "drop", example='depesche bounce drop 0193c8a4-5d10-7c11-9a5e-7f0d1c2b3a49 --note "an outage"')
def drop(session: Session, id: Breaker, note: Note) -> None:
    """Drop what a breaker has parked: it was an outage."""
    found = session.api.post(f"{at(_BREAKERS, id)}:drop", {"note": note})
    session.give(found, lambda item: f"{item['count']:,} addresses are no longer parked.")


@command(commands, "reputation", example="depesche bounce reputation --provider microsoft")
def reputation(
    session: Session,
    provider: Provider = None,
    sender: Annotated[int | None, typer.Option(help="Only this sender.")] = None,
    since: Since = None,
) -> None:
    """List blocks by sender, address and provider."""
    found = session.api.get(f"{_PATH}/reputation", provider=provider, sender=sender, since=since)
    session.give(found, lambda item: table(item["items"], _HEALTH, empty="No provider blocks us."))
