"""`depesche suppressions`: suppressed addresses, why, and how to lift suppressions."""

from typing import Annotated, Any

import typer

from cli.api import at
from cli.moments import FORMS, TIME
from cli.output import facts, safe, table
from cli.session import Session, command

suppressions = typer.Typer(help="Suppressed addresses.", no_args_is_help=True)

_PATH = "/bounce/v1/suppressions"
_SUPPRESSION = ("id", "recipient", "scope", "reason", "active", "changed_at=since", "actor=by", "note")
_BOUNCE = ("at", "category", "origin", "enhanced_code=code", "text", "message")

Recipient = Annotated[str | None, typer.Option(help="Only this recipient: customer:4711.")]
Address = Annotated[str | None, typer.Option(help="Only this address; only its hash is searched.")]
Kind = Annotated[
    str | None, typer.Option(help="email, phone, fcm_token, fid or webhook; default: detected from the address.")
]
Id = Annotated[str, typer.Argument(help="The suppression's id, from `depesche suppressions list`.")]
Note = Annotated[str, typer.Option(help="Why; recorded in the audit.")]


@command(suppressions, "list", example="depesche suppressions list --address kim@example.com")
def list_suppressions(
    session: Session,
    recipient: Recipient = None,
    address: Address = None,
    kind: Kind = None,
    lifted: Annotated[bool, typer.Option("--all", help="Include lifted ones.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50,
) -> None:
    """List suppressions, the latest change first."""
    query: dict[str, Any] = {"recipient": recipient, "address": address, "kind": kind}
    query["active"] = None if lifted else "true"
    found = list(session.api.items(_PATH, most=limit, **query))
    session.give(found, lambda items: table(items, _SUPPRESSION, empty="No suppressions."))


@command(suppressions, "show", example="depesche suppressions show 0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d")
def show_suppression(session: Session, id: Id) -> None:
    """Show one suppression with its evidence."""
    found = session.api.get(at(_PATH, id))
    session.give(found, lambda item: facts({name: value for name, value in item.items() if name != "evidence"}))
    if not session.as_json:
        session.out.print("\n[bold]evidence[/]")
        session.out.print(table(found["evidence"], _BOUNCE, empty="None: it was placed manually."))


@command(suppressions, "add", example='depesche suppressions add kim@example.com --note "asked by phone"')
def add_suppression(
    session: Session,
    address: Annotated[str, typer.Argument(help="E-mail address, phone number, device token or URL.")],
    note: Note,
    scope: Annotated[str, typer.Option(help="all, or marketing.")] = "all",
    kind: Kind = None,
) -> None:
    """Suppress an address manually, from the next claim on."""
    body = {"address": address, "scope": scope, "note": note, "kind": kind}
    made = session.api.post(_PATH, {name: value for name, value in body.items() if value is not None})
    session.give(
        made, lambda item: f"Suppressed: {safe(item['sentence'])} Lift it with: depesche suppressions lift {item['id']}"
    )


@command(suppressions, "lift", example='depesche suppressions lift 0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d --note "wrote"')
def lift_suppression(session: Session, id: Id, note: Note) -> None:
    """Lift a suppression; only new evidence suppresses the address again."""
    lifted = session.api.post(f"{at(_PATH, id)}:lift", {"note": note})
    session.give(lifted, lambda item: f"Lifted: {item['recipient'] or 'the address'} may be written to again.")


Since = Annotated[str, typer.Option(**TIME, help=f"Start time: {FORMS}.")]
Until = Annotated[str | None, typer.Option(**TIME, help="End time; default: now.")]
Provider = Annotated[str | None, typer.Option(help="Only this provider: gmail.")]
_GROUP = ("count", "category", "provider", "rule", "policy")
_UNDONE = ("id", "recipient", "category", "provider", "changed_at=since", "said")


@command(
    suppressions,
    "undo",
    example='depesche suppressions undo --provider gmail --since 6h --note "an outage" --preview',
)
def undo_suppressions(
    session: Session,
    since: Since,
    note: Note,
    until: Until = None,
    provider: Provider = None,
    rule: Annotated[str | None, typer.Option(help="Only those placed by this rule.")] = None,
    rule_set: Annotated[str | None, typer.Option(help="Only those placed by this version of the rules.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category: unknown-user.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would change.")] = False,
) -> None:
    """Lift all suppressions that began in a period, by provider, rule or category."""
    names = {"until": until, "provider": provider, "rule": rule, "rule_set": rule_set, "category": category}
    body: dict[str, Any] = {"since": since, "note": note, "preview": preview}
    found = session.api.post(f"{_PATH}:undo", body | {name: v for name, v in names.items() if v is not None})
    session.give(found, _undone)
    if preview and not session.as_json:
        session.out.print(table(found["groups"], _GROUP, empty="Nothing would change."))
        session.out.print(table(found["examples"], _UNDONE, empty=""))


def _undone(found: dict[str, Any]) -> str:
    verb = "would be lifted" if found["preview"] else "may be written to again"
    return (
        f"{found['lifted']:,} suppressions {verb}; {found['dropped']:,} parked ones dropped, "
        f"{found['void']:,} facts no longer count as evidence."
    )
