"""`depesche bounce webhooks`: other systems that receive bounces and suppressions."""

import sys
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from cli.api import Answer, at
from cli.errors import CliError, UsageError
from cli.exits import Exit
from cli.moments import FORMS, TIME
from cli.output import facts, safe, table
from cli.session import Session, command

webhooks = typer.Typer(help="Other systems that receive bounces and suppressions.", no_args_is_help=True)

_PATH = "/bounce/v1/webhooks"
_KINDS = ("bounce.classified", "suppression.changed")
_WEBHOOK = ("id", "url", "kinds", "enabled", "state", "waiting", "given_up", "note")
_CALL = ("at", "kind", "status", "error", "milliseconds=ms", "event")

Id = Annotated[str, typer.Argument(help="The webhook's id, from `depesche bounce webhooks list`.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help=f"{' or '.join(_KINDS)}; may be repeated.")]


@command(webhooks, "list", example="depesche bounce webhooks list")
def list_webhooks(session: Session) -> None:
    """List all webhooks and their state."""
    found = list(session.api.items(_PATH))
    session.give(found, lambda items: table([_line(item) for item in items], _WEBHOOK, empty="No webhooks."))


@command(webhooks, "show", example="depesche bounce webhooks show 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def show(session: Session, id: Id) -> None:
    """Show one webhook."""
    session.give(session.api.get(at(_PATH, id)))


@command(webhooks, "create", example="depesche bounce webhooks create https://crm.example/hooks/bounces")
def create(
    session: Session,
    target: Annotated[str, typer.Argument(metavar="URL", help="The target: https, with a public host.")],
    kind: Kinds = None,
    note: Annotated[str, typer.Option(help="Its purpose.")] = "",
) -> None:
    """Send events to another system, all of them without --kind. The secret is shown only this once."""
    body = {"url": target, "kinds": kind or list(_KINDS), "note": note, "enabled": True}
    session.give(session.api.post(_PATH, body), _with_secret)


@command(webhooks, "change", example="depesche bounce webhooks change 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --enable")
def change(
    session: Session,
    id: Id,
    target: Annotated[str | None, typer.Option("--to", metavar="URL", help="A new URL.")] = None,
    kind: Kinds = None,
    note: Annotated[str | None, typer.Option(help="Its purpose.")] = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Enabling resets one that was disabled after failing for days."),
    ] = None,
) -> None:
    """Change a webhook; fields that are not given stay unchanged."""
    named = {"url": target, "kinds": kind or None, "note": note, "enabled": enabled}
    edits = {name: value for name, value in named.items() if value is not None}
    if not edits:
        raise UsageError("There is nothing to change.", hint="Give --to, --kind, --note, --enable or --disable.")
    current = _current(session, id)
    body = {name: current.body[name] for name in named} | edits
    session.give(session.api.put(at(_PATH, id), body, etag=current.etag).body)


@command(webhooks, "rotate", example="depesche bounce webhooks rotate 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def rotate(session: Session, id: Id) -> None:
    """Create a new secret, shown only this once; for a day the old one signs too."""
    session.give(session.api.post(f"{at(_PATH, id)}:rotate"), _with_secret)


@command(webhooks, "test", example="depesche bounce webhooks test 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def test(session: Session, id: Id) -> None:
    """Call it now with an empty event and show the response. Exit code 1 unless that was a 2xx."""
    tried = session.api.post(f"{at(_PATH, id)}:test")
    session.give(tried)
    if not tried["delivered"]:
        raise typer.Exit(Exit.REFUSED)


@command(webhooks, "log", example="depesche bounce webhooks log 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49")
def log(session: Session, id: Id, limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50) -> None:
    """List its calls and their responses, newest first."""
    found = list(session.api.items(f"{at(_PATH, id)}/attempts", most=limit))
    session.give(found, lambda items: table(items, _CALL, empty="It has not been called yet."))


@command(
    webhooks,
    "redeliver",
    example="depesche bounce webhooks redeliver 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --since 6h",
)
def redeliver(
    session: Session,
    id: Id,
    since: Annotated[str, typer.Option(**TIME, help=f"Events since this time: {FORMS}.")],
    until: Annotated[str | None, typer.Option(**TIME, help="End time; default: now.")] = None,
    delivered: Annotated[bool, typer.Option("--delivered", help="Include delivered events.")] = False,
    event: Annotated[list[str] | None, typer.Option(help="Only this event, by its id; may be repeated.")] = None,
) -> None:
    """Send events again that were given up, under the same ids."""
    body: dict[str, Any] = {"since": since, "delivered": delivered, "events": event or []}
    again = session.api.post(f"{at(_PATH, id)}:redeliver", body | ({"until": until} if until else {}))
    session.give(again, lambda done: f"{done['count']:,} events are due again.")


@command(webhooks, "delete", example="depesche bounce webhooks delete 0193c8a4-6a10-7c11-9a5e-7f0d1c2b3a49 --yes")
def delete(session: Session, id: Id, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a webhook, with its log and the events still waiting."""
    current = _current(session, id)
    if not yes:
        if session.as_json or not sys.stdin.isatty():
            raise UsageError("The events waiting for it would be lost.", hint="Confirm with --yes.")
        typer.confirm(f"Remove the webhook to {current.body['url']}? Its waiting events will be lost.", abort=True)
    session.api.call("DELETE", at(_PATH, id), headers={"if-match": current.etag or ""})
    session.give({"id": id, "deleted": True}, lambda _: f"{safe(current.body['url'])} receives no more events.")


def _current(session: Session, id: str) -> Answer:
    found = session.api.fetch(at(_PATH, id))
    if found is None:
        raise CliError(f"There is no webhook {id}.", exit_code=Exit.NOT_FOUND, hint="`depesche bounce webhooks list`")
    return found


def _line(item: dict[str, Any]) -> dict[str, Any]:
    failing = f"failing since {item['failing_since']}" if item["failing_since"] else "fine"
    return item | {"state": f"disabled: {item['disabled_for']}" if item["disabled_for"] else failing}


def _with_secret(made: dict[str, Any]) -> RenderableType:
    return facts({"id": made["id"], "url": made["url"], "secret (shown this once)": made["secret"]})
