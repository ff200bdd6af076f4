"""`depesche bounce webhooks`: other systems that are told of bounces and suppressions."""

import sys
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from cli.api import Answer
from cli.errors import CliError, UsageError
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.session import Session, command

webhooks = typer.Typer(help="Other systems that are told of bounces and suppressions.", no_args_is_help=True)

_PATH = "/bounce/v1/webhooks"
_KINDS = ("bounce.classified", "suppression.changed")
_WEBHOOK = ("id", "url", "kinds", "enabled", "state", "waiting", "given_up", "note")
_CALL = ("at", "kind", "status", "error", "milliseconds=ms", "event")

Id = Annotated[str, typer.Argument(help="The webhook's id, from `depesche bounce webhooks list`.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help=f"{' or '.join(_KINDS)}; may be repeated.")]


@command(webhooks, "list", example="depesche bounce webhooks list")
def list_webhooks(session: Session) -> None:
    """All webhooks, and how it goes with them."""
    found = list(session.api.items(_PATH))
    session.give(found, lambda items: table([_line(item) for item in items], _WEBHOOK, empty="There is none."))


@command(webhooks, "show", example="depesche bounce webhooks show 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def show(session: Session, id: Id) -> None:
    """One webhook."""
    session.give(session.api.get(f"{_PATH}/{id}"))


@command(webhooks, "create", example="depesche bounce webhooks create https://crm.example/hooks/bounces")
def create(
    session: Session,
    target: Annotated[str, typer.Argument(metavar="URL", help="Where to tell: https, at a public address.")],
    kind: Kinds = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Tell another system from now on, of everything if no --kind is named. Its secret is shown this once."""
    body = {"url": target, "kinds": kind or list(_KINDS), "note": note, "enabled": True}
    session.give(session.api.post(_PATH, body), _with_secret)


@command(webhooks, "change", example="depesche bounce webhooks change 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --enable")
def change(
    session: Session,
    id: Id,
    target: Annotated[str | None, typer.Option("--to", metavar="URL", help="Another URL.")] = None,
    kind: Kinds = None,
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="One that failed for days is tried anew when enabled.")
    ] = None,
) -> None:
    """Change a webhook; what is not named stays."""
    named = {"url": target, "kinds": kind or None, "note": note, "enabled": enabled}
    edits = {name: value for name, value in named.items() if value is not None}
    if not edits:
        raise UsageError("Nothing is to be changed.", hint="Name --to, --kind, --note, --enable or --disable.")
    current = _current(session, id)
    body = {name: current.body[name] for name in named} | edits
    session.give(session.api.put(f"{_PATH}/{id}", body, etag=current.etag).body)


@command(webhooks, "rotate", example="depesche bounce webhooks rotate 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def rotate(session: Session, id: Id) -> None:
    """Give it a new secret, shown this once; for a day the old one signs beside it."""
    session.give(session.api.post(f"{_PATH}/{id}:rotate"), _with_secret)


@command(webhooks, "test", example="depesche bounce webhooks test 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def test(session: Session, id: Id) -> None:
    """Call it now with an event that says nothing, and show what came back. Exit code 1 where that was no 2xx."""
    tried = session.api.post(f"{_PATH}/{id}:test")
    session.give(tried)
    if not tried["delivered"]:
        raise typer.Exit(Exit.REFUSED)


@command(webhooks, "log", example="depesche bounce webhooks log 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def log(session: Session, id: Id, limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50) -> None:
    """Its calls, the newest first, with what came back."""
    found = list(session.api.items(f"{_PATH}/{id}/attempts", most=limit))
    session.give(found, lambda items: table(items, _CALL, empty="It has not been called yet."))


@command(
    webhooks,
    "redeliver",
    example="depesche bounce webhooks redeliver 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --since 2027-03-01T08:00:00Z",
)
def redeliver(
    session: Session,
    id: Id,
    since: Annotated[str, typer.Option(help="Events from this moment on: 2027-03-01T08:00:00Z.")],
    until: Annotated[str | None, typer.Option(help="Up to this moment; now, where it is left out.")] = None,
    delivered: Annotated[bool, typer.Option("--delivered", help="Delivered ones too.")] = False,
    event: Annotated[list[str] | None, typer.Option(help="This event alone, by its id; may be repeated.")] = None,
) -> None:
    """Tell it again what was given up, under the same ids."""
    body: dict[str, Any] = {"since": since, "delivered": delivered, "events": event or []}
    again = session.api.post(f"{_PATH}/{id}:redeliver", body | ({"until": until} if until else {}))
    session.give(again, lambda done: f"{done['count']:,} events are due again.")


@command(webhooks, "delete", example="depesche bounce webhooks delete 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --yes")
def delete(session: Session, id: Id, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove it, with its log and what it was still to be told."""
    current = _current(session, id)
    if not yes:
        if session.as_json or not sys.stdin.isatty():
            raise UsageError("What waits for it would not be told.", hint="Say --yes if it is meant.")
        typer.confirm(f"Remove the webhook to {current.body['url']}? What waits for it is not told.", abort=True)
    session.api.call("DELETE", f"{_PATH}/{id}", headers={"if-match": current.etag or ""})
    session.give({"id": id, "deleted": True}, lambda _: f"{safe(current.body['url'])} is told no more.")


def _current(session: Session, id: str) -> Answer:
    found = session.api.fetch(f"{_PATH}/{id}")
    if found is None:
        raise CliError(f"There is no webhook {id}.", exit_code=Exit.NOT_FOUND, hint="`depesche bounce webhooks list`")
    return found


def _line(item: dict[str, Any]) -> dict[str, Any]:
    failing = f"failing since {item['failing_since']}" if item["failing_since"] else "fine"
    return item | {"state": f"disabled: {item['disabled_for']}" if item["disabled_for"] else failing}


def _with_secret(made: dict[str, Any]) -> RenderableType:
    return facts({"id": made["id"], "url": made["url"], "secret (shown this once)": made["secret"]})
