"""`depesche audit`: everything that happened, searched and counted."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from cli.errors import UsageError
from cli.moments import FORMS, TIME
from cli.output import table
from cli.session import Session, command

audit = typer.Typer(help="Search and count everything that happened.", no_args_is_help=True)

_RECORD = ("at", "kind", "what", "communication", "recipient", "order", "channel", "detail")
_WHAT = ("status", "receipt", "category", "action", "error", "reply_code", "type")

Words = Annotated[list[str] | None, typer.Argument(help="Words that must all occur; quote them to match a phrase.")]
Without = Annotated[list[str] | None, typer.Option("--without", help="A word that must not occur.")]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        help="name=value; may be repeated, and one name repeated matches any of its values. --where channel=email",
    ),
]
Since = Annotated[str | None, typer.Option("--from", **TIME, help=f"{FORMS}.")]
Until = Annotated[str | None, typer.Option("--to", **TIME, help="Like --from; default: now.")]
Status = Annotated[list[str] | None, typer.Option(help="sent, failed, skipped, suppressed …")]
Order = Annotated[str | None, typer.Option(help="The order number, or another subject of the event.")]
Recipient = Annotated[str | None, typer.Option(help="customer:4711 or installation:<id>.")]
Communication = Annotated[list[str] | None, typer.Option(help="Only this communication.")]


@command(audit, "search", example='depesche audit search "user unknown" --from 7d --status failed')
def search(
    session: Session,
    words: Words = None,
    without: Without = None,
    where: Filter = None,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    order: Order = None,
    recipient: Recipient = None,
    communication: Communication = None,
    limit: Annotated[
        int, typer.Option(help="Maximum number, newest first; fetches several pages if needed.", min=1)
    ] = 50,
) -> None:
    """Search decisions, messages' transitions, receipts, refusals and every other event, newest first."""
    query = _question(_said(words, without), where, since, until)
    query |= {"status": status, "order": order, "recipient": recipient, "communication": communication}
    found = list(session.api.items("/history/v1/audit", most=limit, **query))
    session.give(found, _records)
    if len(found) == limit:
        session.say(f"[dim]There may be older records: --limit {limit * 4} shows more.[/]")


@command(audit, "counts", example="depesche audit counts --by day --by status --from 7d --where kind=transition")
def counts(
    session: Session,
    by: Annotated[list[str], typer.Option(help="One or two of day, hour, status, reason, channel, communication …")],
    words: Words = None,
    without: Without = None,
    where: Filter = None,
    since: Since = None,
    until: Until = None,
    zone: Annotated[str, typer.Option(help="Time zone for days and hours: Europe/Berlin.")] = "UTC",
) -> None:
    """Count records by one or two fields."""
    query = _question(_said(words, without), where, since, until)
    answer = session.api.get("/history/v1/audit/counts", by=by, zone=zone, **query)
    session.give(answer, _counts)


def _question(said: str | None, where: list[str] | None, since: str | None, until: str | None) -> dict[str, Any]:
    query: dict[str, Any] = {"q": said}
    for pair in where or ():
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{pair!r} is not a filter.", hint="Write --where name=value: --where channel=email")
        query.setdefault(name, []).append(value)
    return query | {"from": since, "to": until}


def _said(words: list[str] | None, without: list[str] | None) -> str | None:
    return " ".join([*map(_quoted, words or ()), *(f"-{_quoted(word)}" for word in without or ())]) or None


def _quoted(word: str) -> str:
    """Quote words that the shell passed as one argument."""
    return f'"{word}"' if " " in word and '"' not in word else word


def _records(found: list[Mapping[str, Any]]) -> RenderableType:
    rows = [{**record, "what": _what(record)} for record in found]
    return table(rows, _RECORD, empty="No matching records in this period.")


def _what(record: Mapping[str, Any]) -> str:
    """Summarise in a word: the status, the receipt or the action."""
    if record["kind"] == "decision":
        return str(record["reason"])
    said = str(next(record[name] for name in _WHAT if record.get(name)))
    return f"{said}: {record['reason']}" if record["kind"] == "transition" and record["reason"] else said


def _counts(answer: Mapping[str, Any]) -> RenderableType:
    rows = [{**group["values"], "count": group["count"]} for group in answer["groups"]]
    return table(rows, (*answer["by"], "count"), empty="No matching records in this period.")
