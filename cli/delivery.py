"""`depesche status`, `holds`, `messages`, `cancel`: what is being sent, and how to stop it."""

import contextlib
import sys
import threading
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.api import at, at_cause
from cli.errors import CliError, ProblemAnswer
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.senders import SENDER_COLUMNS
from cli.session import Session, command
from libs import exact_json

holds = typer.Typer(help="Stop a cause, a release, a sender or the tenant.", no_args_is_help=True)
messages = typer.Typer(help="Look up single messages.", no_args_is_help=True)

_PATH = "/delivery/v1"
_HOLD = ("kind", "target", "note", "actor=by", "changed_at=since")
_ATTEMPT = ("attempt", "status", "reason", "provider_ref=provider's id", "recorded_at=at")
_RECEIPT = ("at", "kind", "attempt", "provider", "detail")
_REASON = ("count", "status", "reason", "channel")
_TRANSITIONS = "depesche_delivery_messages"
_MOST_REASONS = 12
_TICK_SECONDS = 1.0

Kind = Annotated[str, typer.Argument(help="cause, release, sender or tenant.")]
Target = Annotated[str, typer.Argument(help="The cause's or release's id; the sender's or tenant's number.")]
Note = Annotated[str | None, typer.Option(help="Why; recorded in the audit.")]


def register(app: typer.Typer) -> None:
    """Add the commands that have no group."""
    command(app, "status", example="depesche status --watch")(status)
    command(app, "cancel", example='depesche cancel 01936b1e-7c00-7000-8000-000000000000 --note "wrong text"')(cancel)


def status(
    session: Session,
    hours: Annotated[float, typer.Option(help="How many hours back to count messages.", min=0.1)] = 24.0,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it live; Ctrl-C ends.")] = False,
) -> None:
    """Show what waits, what was sent, the senders and the holds."""
    if not watch:
        found = _figures(session, hours)
        session.give(found, _screen)
        return
    try:
        _watched(session, hours)
    except KeyboardInterrupt:
        return


def _watched(session: Session, hours: float) -> None:
    live = None if session.as_json else Live(console=session.out, auto_refresh=False)
    with live or contextlib.nullcontext():
        while True:
            try:
                found = _figures(session, hours)
                shown = _screen(found)
            except CliError as error:
                if error.exit_code is not Exit.UNREACHABLE and error.exit_code is not Exit.FAILED:
                    raise  # a revoked key stays revoked; a restarting suite is exactly what one watches for
                found, shown = error.document(), Text(f"{error.title} {error.hint}", style="red")
            if live is None:
                sys.stdout.write(exact_json.dumps(found).decode() + "\n")
                sys.stdout.flush()
            else:
                live.update(shown, refresh=True)
            threading.Event().wait(_TICK_SECONDS)


def _figures(session: Session, hours: float) -> dict[str, Any]:
    figures: dict[str, Any] = session.api.get(f"{_PATH}/statistics", hours=hours)
    return {
        **figures,
        "hours": hours,
        "senders": list(session.api.items(f"{_PATH}/senders")),
        "holds": list(session.api.items(f"{_PATH}/holds")),
        "reasons": _reasons(session),
    }


def _reasons(session: Session) -> list[dict[str, Any]]:
    """Count messages by status and reason, from the suite's metrics; empty if this key may not read them."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        text = session.api.get("/metrics")
    except ProblemAnswer as problem:
        if problem.exit_code is Exit.UNAUTHORISED:
            return []
        raise
    counted = [
        {**sample.labels, "count": int(sample.value)}
        for family in text_string_to_metric_families(text)
        if family.name == _TRANSITIONS
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    ]
    return sorted(counted, key=lambda one: -one["count"])


def _screen(found: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [_messages(found), Text(), _waiting(found)]
    if reasons := [one for one in found["reasons"] if one.get("reason") != "none"]:
        title = Text("\nReasons since the suite started, all tenants", style="bold")
        parts += [title, table(reasons[:_MOST_REASONS], _REASON)]
    if found["senders"]:
        parts += [Text("\nSenders", style="bold"), table(found["senders"], SENDER_COLUMNS)]
    if found["holds"]:
        parts += [Text("\nHolds", style="bold yellow"), table(found["holds"], _HOLD)]
    return Group(*parts)


def _messages(found: dict[str, Any]) -> Table:
    made = Table(title=f"Messages of the last {found['hours']:g} hours", title_justify="left", box=None, pad_edge=False)
    made.add_column()
    for name in found["messages"]:
        made.add_column(name, justify="right", style=_STYLES.get(name, ""))
    for communication, counts in sorted(found.get("communications", {}).items()):
        made.add_row(Text(communication), *_counts(counts, found["messages"]))
    made.add_row("all", *_counts(found["messages"], found["messages"]), style="bold")
    return made


def _counts(counts: dict[str, int], names: Iterable[str]) -> list[Text]:
    return [Text(f"{counts[name]:,}", style="" if counts[name] else "dim") for name in names]


def _waiting(found: dict[str, Any]) -> Table:
    made = Table(title="Waiting now, all tenants", title_justify="left", box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(justify="right")
    for lane, count in found["backlog"].items():
        made.add_row(f"recipients, {lane}", f"{count:,}")
    late = found["oldest_due_seconds"]
    made.add_row("oldest due for", Text(f"{late:,} s", style="red" if late > _LATE_SECONDS else ""))
    made.add_row("held chunks", Text(f"{found['held_chunks']:,}", style="yellow" if found["held_chunks"] else ""))
    made.add_row("unsettled requests, this tenant", f"{found['open_requests']:,} of {found['requests']:,}")
    made.add_row("unpublished events", f"{found['outbox']:,}, the oldest for {found['outbox_lag_seconds']:,} s")
    return made


_LATE_SECONDS = 60
_STYLES = {
    "sent": "green",
    "failed": "red",
    "unknown": "magenta",
    "pending": "cyan",
    "skipped": "yellow",
    "suppressed": "yellow",
}


def cancel(
    session: Session,
    cause: Annotated[str, typer.Argument(help="The cause's id (Depesche's id of the event).")],
    note: Note = None,
) -> None:
    """Cancel everything of a cause that has not been called yet. Messages already called keep their status."""
    done = session.api.post(f"{at_cause(f'{_PATH}/causes', cause)}:cancel", {"note": note})
    session.give(done, lambda d: f"Cancelled; {d['open_requests']} of its requests were still open.")


@command(holds, "list", example="depesche holds list")
def list_holds(session: Session) -> None:
    """List active holds."""
    found = list(session.api.items(f"{_PATH}/holds"))
    session.give(found, lambda items: table(items, _HOLD, empty="No active holds."))


@command(holds, "place", example='depesche holds place sender 2 --note "provider is down"')
def place_hold(session: Session, kind: Kind, target: Target, note: Note = None) -> None:
    """Place a hold: nothing of the target is sent until the hold is lifted, and nothing is lost."""
    body = {"kind": kind, "target": target, "note": note}
    placed = session.api.post(f"{_PATH}/holds", {name: value for name, value in body.items() if value is not None})
    lift = f"depesche holds lift {placed['kind']} {placed['target']}"
    session.give(placed, lambda h: f"Held: {safe(h['kind'])} {safe(h['target'])}. Lift it with: {safe(lift)}")


@command(holds, "lift", example="depesche holds lift sender 2")
def lift_hold(session: Session, kind: Kind, target: Target, note: Note = None) -> None:
    """Lift a hold; its work continues, and nothing is sent twice."""
    lifted = session.api.delete(f"{_PATH}/holds", kind=kind, target=target, note=note)
    session.give(lifted, lambda h: f"Lifted: {safe(h['kind'])} {safe(h['target'])} continues.")


@command(messages, "show", example="depesche messages show 01936b1e-7c00-8000-8000-000000000001.17")
def show_message(session: Session, id: Annotated[str, typer.Argument(help="The message's id.")]) -> None:
    """Show one message with its attempts and receipts."""
    found = session.api.get(at(f"{_PATH}/messages", id))
    rest = {name: value for name, value in found.items() if name not in ("attempts", "receipts")}
    session.give(found, lambda _: facts(rest))
    if session.as_json:
        return
    for name, columns in (("attempts", _ATTEMPT), ("receipts", _RECEIPT)):
        if found[name]:
            session.out.print(f"\n[bold]{'earlier attempts' if name == 'attempts' else name}[/]")
            session.out.print(table(found[name], columns))
