"""`depesche sources`, `event-types`: where events come from, and what they look like."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.apply import EVENT_TYPE, SOURCE, add_apply
from cli.errors import UsageError
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.session import Session, command

sources = typer.Typer(help="Sources of events: shops' signed webhooks, other teams' topics.", no_args_is_help=True)
event_types = typer.Typer(help="Event types and their JSON Schemas.", no_args_is_help=True)

_SOURCE = ("name", "description", "version", "from", "updated_at=updated")
_DECISION = ("communication", "outcome", "recipient", "detail")
_TYPE = ("type", "description", "version", "updated_at=updated")

add_apply(sources, SOURCE)
add_apply(event_types, EVENT_TYPE)

Name = Annotated[str, typer.Argument(help="Its name.")]


@command(sources, "list", example="depesche sources list")
def list_sources(session: Session) -> None:
    """List the sources of the tenant and mode: the URL to enter in the shop, or the topic and whether
    it is consumed."""
    found = [{**source, "from": _from(source)} for source in session.api.items(SOURCE.path)]
    session.give(found, lambda items: table(items, _SOURCE, empty="No sources yet: depesche sources apply FILE."))


@command(sources, "show", example="depesche sources show shopify")
def show_source(session: Session, name: Name) -> None:
    """Show one source; of its secrets, only the start of their digests."""
    session.give(session.api.get(SOURCE.at(name)), facts)


@command(sources, "test", example="depesche sources test shopify body.json --header X-Shopify-Topic=orders/create")
def try_source(
    session: Session,
    name: Name,
    file: Annotated[str, typer.Argument(help="The delivery's body, unchanged; - reads standard input.")],
    header: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be repeated.")] = None,
    query: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the URL; may be repeated.")] = None,
) -> None:
    """Show what a delivery would become: the signature, the events, each communication's decision.
    Nothing is written."""
    raw = sys.stdin.buffer.read() if file == "-" else _read(Path(file))
    pasted = {"body": _text(raw), "headers": _pairs(header), "query": _pairs(query)}
    report = session.api.post(f"{SOURCE.at(name)}:test", pasted)
    session.give(report, lambda found: f"Signature: {safe(str(found['verification']))}")
    if not session.as_json:
        _show_report(session, report)
    if report["errors"] or any(event.get("errors") for event in report["events"]):
        raise typer.Exit(Exit.REFUSED)


@command(event_types, "list", example="depesche event-types list")
def list_types(session: Session) -> None:
    """List the declared types; events of others are accepted unchecked."""
    found = list(session.api.items(EVENT_TYPE.path))
    session.give(
        found, lambda items: table(items, _TYPE, empty="No types are declared: events are accepted unchecked.")
    )


@command(event_types, "show", example="depesche event-types show order.placed")
def show_type(session: Session, type: Annotated[str, typer.Argument(help="order.placed")]) -> None:
    """Show one type with its schema."""
    session.give(session.api.get(EVENT_TYPE.at(type)), facts)


def _from(source: dict[str, Any]) -> str:
    topic, hearing = source.get("topic"), source.get("hearing")
    if not topic or not hearing:
        return str(source["webhook"])
    return f"topic {topic['component']}/{topic['name']}: {hearing['state']}"


def _show_report(session: Session, report: dict[str, Any]) -> None:
    for error in report["errors"]:
        session.err.print(f"[red]✗[/] [cyan]{safe(error['pointer'])}[/]: {safe(error['detail'])}")
    if report.get("filtered"):
        session.say(f"Excluded by the filter: {report['filtered']}")
    for number, event in enumerate(report["events"], start=1):
        session.say(f"\n[bold]Event {number}[/]")
        session.out.print(facts({name: value for name, value in event.items() if name not in ("errors", "decisions")}))
        for error in event.get("errors") or ():
            session.err.print(f"[red]✗[/] [cyan]{safe(error['pointer'])}[/]: {safe(error['detail'])}")
        if event.get("decisions"):
            session.out.print(table(event["decisions"], _DECISION))


def _pairs(given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not NAME=VALUE.")
        pairs[name.strip()] = value
    return pairs


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _text(raw: bytes) -> str:
    # as text, not parsed: the signature covers the bytes as they arrived
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UsageError("The body is not UTF-8, so it is not JSON.") from error
