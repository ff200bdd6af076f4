"""`depesche suppressions`: addresses that are barred, why, and how they are let go."""

from typing import Annotated, Any

import typer

from cli.output import facts, safe, table
from cli.session import Session, command

suppressions = typer.Typer(help="Addresses that are barred.", no_args_is_help=True)

_PATH = "/bounce/v1/suppressions"
_SUPPRESSION = ("id", "recipient", "scope", "reason", "active", "changed_at=since", "actor=by", "note")
_BOUNCE = ("at", "category", "origin", "enhanced_code=code", "text", "message")

Recipient = Annotated[str | None, typer.Option(help="Of this recipient: customer:4711.")]
Address = Annotated[str | None, typer.Option(help="Of this address; only its hash is looked for.")]
Kind = Annotated[str | None, typer.Option(help="email, phone, fcm_token, fid or webhook; seen from the address.")]
Id = Annotated[str, typer.Argument(help="The suppression's id, from `depesche suppressions list`.")]
Note = Annotated[str, typer.Option(help="Why; it stands in the audit.")]


@command(suppressions, "list", example="depesche suppressions list --address kim@example.com")
def list_suppressions(
    session: Session,
    recipient: Recipient = None,
    address: Address = None,
    kind: Kind = None,
    lifted: Annotated[bool, typer.Option("--all", help="Lifted ones too.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
) -> None:
    """What is barred, newest change first."""
    query: dict[str, Any] = {"recipient": recipient, "address": address, "kind": kind}
    query["active"] = None if lifted else "true"
    found = list(session.api.items(_PATH, most=limit, **query))
    session.give(found, lambda items: table(items, _SUPPRESSION, empty="Nothing is barred."))


@command(suppressions, "show", example="depesche suppressions show 0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d")
def show_suppression(session: Session, id: Id) -> None:
    """One suppression with its evidence."""
    found = session.api.get(f"{_PATH}/{id}")
    session.give(found, lambda item: facts({name: value for name, value in item.items() if name != "evidence"}))
    if not session.as_json:
        session.out.print("\n[bold]evidence[/]")
        session.out.print(table(found["evidence"], _BOUNCE, empty="None: it was placed by hand."))


@command(suppressions, "add", example='depesche suppressions add kim@example.com --note "asked by phone"')
def add_suppression(
    session: Session,
    address: Annotated[str, typer.Argument(help="E-mail address, phone number, device token or URL.")],
    note: Note,
    scope: Annotated[str, typer.Option(help="all, or marketing.")] = "all",
    kind: Kind = None,
) -> None:
    """Bar an address by hand, from the next claim on."""
    body = {"address": address, "scope": scope, "note": note, "kind": kind}
    made = session.api.post(_PATH, {name: value for name, value in body.items() if value is not None})
    session.give(
        made, lambda item: f"Barred: {safe(item['sentence'])} Lift it with: depesche suppressions lift {item['id']}"
    )


@command(suppressions, "lift", example='depesche suppressions lift 0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d --note "wrote"')
def lift_suppression(session: Session, id: Id, note: Note) -> None:
    """Let an address go; only new evidence bars it again."""
    lifted = session.api.post(f"{_PATH}/{id}:lift", {"note": note})
    session.give(lifted, lambda item: f"Lifted: {item['recipient'] or 'the address'} may be written to again.")
