"""`depesche events`, `rejections`: send business events, and see the result of each."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.api import Content, at_cause, ndjson
from cli.errors import CliError, UsageError
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.reading import Line, lines_of
from cli.reports import opened
from cli.session import Session, command
from libs import exact_json

events = typer.Typer(help="Business events: send them and follow their results.", no_args_is_help=True)
rejections = typer.Typer(help="Stored input that could not become an event.", no_args_is_help=True)

_PATH = "/orders-notification/v1/events"
_BATCH = 1000
_BATCH_BYTES = 8 << 20
_SHOWN = 20
_KEPT = 1000
_REPLAYED_AT_ONCE = 200  # each is a commit
_EVENT = ("id", "type", "subject", "recipient", "received_at=received", "state", "requests", "requests_settled=settled")
_DECISION = ("communication", "outcome", "recipient", "notification_id=notification", "detail")
_REJECTION = ("id", "source", "event_type=type", "reason", "detail", "times", "last_at=last", "state")

Most = Annotated[int, typer.Option("--limit", help="Maximum number.", min=1)]


@dataclass
class Tally:
    """The results of one file's lines."""

    report: BinaryIO | None = None
    counts: Counter[str] = field(default_factory=Counter)
    notifications: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def take(self, lines: list[Line], verdicts: list[dict[str, Any]]) -> None:
        """Count one batch. A line without a verdict was not accepted, and is reported as such."""
        answered = {verdict.get("line"): verdict for verdict in verdicts}
        for place, line in enumerate(lines, start=1):
            verdict = answered.get(place) or {
                "status": "unanswered",
                "detail": "The suite returned no verdict; send this again.",
            }
            status = str(verdict["status"])
            self.counts[status] += 1
            self.notifications += int(verdict.get("notifications") or 0)
            if status not in ("accepted", "duplicate"):
                self._refuse({**verdict, "line": line.number})

    def _refuse(self, refusal: dict[str, Any]) -> None:
        if len(self.refused) < _KEPT:
            self.refused.append(refusal)
        if self.report is not None:
            self.report.write(exact_json.dumps(refusal) + b"\n")

    @property
    def bad(self) -> int:
        return sum(count for status, count in self.counts.items() if status not in ("accepted", "duplicate"))

    def document(self) -> dict[str, Any]:
        return {
            "received": sum(self.counts.values()),
            "accepted": self.counts["accepted"],
            "duplicate": self.counts["duplicate"],
            "rejected": self.bad,
            "notifications": self.notifications,
            "refused": self.refused,
        }


@command(events, "send", example="depesche events send day.ndjson --report refused.ndjson")
def send(
    session: Session,
    file: Annotated[
        str, typer.Argument(help="JSON, a JSON array (CloudEvents batch) or NDJSON; - reads standard input.")
    ],
    report: Annotated[Path | None, typer.Option(help="File for every refused line, as NDJSON.")] = None,
    quiet_refusals: Annotated[
        bool, typer.Option("--quiet-refusals", help="Count refused lines without listing them.")
    ] = False,
) -> None:
    """Send events. Events sent again count as duplicates; exit code 1 if any was refused."""
    with ExitStack() as stack:
        stream = _opened(stack, file)
        tally = Tally(stack.enter_context(opened(report, file)))
        size = Path(file).stat().st_size if file != "-" else None
        with _progress(session, size) as advance:
            for batch in _batches(lines_of(stream, name=file)):
                _send(session, batch, tally)
                advance(batch)
    session.give(tally.document(), lambda _: _summary(tally, file))
    if tally.bad:
        if not quiet_refusals and not session.as_json:
            _list_refusals(session, tally, report)
        raise typer.Exit(Exit.REFUSED)


def _send(session: Session, batch: list[Line], tally: Tally) -> None:
    body: Content = ndjson(line.raw for line in batch)
    try:
        verdicts = session.api.post(_PATH, body)
    except CliError as error:
        sent = sum(tally.counts.values())
        if sent:
            error.hint += (
                f" {sent:,} events before line {batch[0].number} were processed; it is safe to send the file again."
            )
        raise
    tally.take(batch, verdicts or [])


def _opened(stack: ExitStack, file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", hint="Give a file, or - for standard input."
        ) from error


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= _BATCH or size + len(line.raw) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.raw)
    if batch:
        yield batch


@contextmanager
def _progress(session: Session, size: int | None) -> Iterator[Any]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if size is None else TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[events]:,} events, {task.fields[speed]:,.0f}/s"),
        TimeElapsedColumn(),
        console=session.err,
        disable=not session.err.is_terminal,
        transient=True,
    ) as bar:
        task: TaskID = bar.add_task("Sending", total=size, events=0, speed=0.0)
        sent = 0

        def advance(batch: list[Line]) -> None:
            nonlocal sent
            sent += len(batch)
            elapsed = bar.tasks[0].elapsed or 0.001
            bar.update(task, advance=sum(len(line.raw) + 1 for line in batch), events=sent, speed=sent / elapsed)

        yield advance


def _summary(tally: Tally, file: str) -> str:
    counts = tally.document()
    noun = "event" if counts["received"] == 1 else "events"
    source = "standard input" if file == "-" else safe(file)
    text = f"{counts['received']:,} {noun} from {source}: [green]{counts['accepted']:,} accepted[/]"
    text += f", {counts['duplicate']:,} duplicates"
    text += f", [red]{counts['rejected']:,} refused[/]" if counts["rejected"] else ", none refused"
    wanted = counts["notifications"]
    return f"{text}; {wanted:,} {'notification' if wanted == 1 else 'notifications'} requested."


def _list_refusals(session: Session, tally: Tally, report: Path | None) -> None:
    for refusal in tally.refused[:_SHOWN]:
        errors = refusal.get("errors") or [{**refusal, "detail": refusal.get("detail") or refusal["status"]}]
        for error in errors:
            where = f" {error['pointer']}" if error.get("pointer") else ""
            session.err.print(f"[red]line {refusal['line']}[/]{safe(where)}: {safe(str(error['detail']))}")
    if tally.bad > _SHOWN:
        rest = f"… and {tally.bad - _SHOWN:,} more"
        session.err.print(f"{rest} in {safe(str(report))}." if report else f"{rest}: --report FILE writes all of them.")
    elif report:
        session.err.print(f"All of them are in {safe(str(report))}.")


@command(events, "list", example="depesche events list --subject 100045")
def list_events(
    session: Session,
    subject: Annotated[str | None, typer.Option(help="The order number, or another subject of the events.")] = None,
    type: Annotated[str | None, typer.Option(help="Only this type: order.placed.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only this recipient: customer:4711.")] = None,
    limit: Most = 20,
) -> None:
    """List accepted events, newest first."""
    found = list(session.api.items(_PATH, most=limit, subject=subject, type=type, recipient=recipient))
    session.give(found, lambda items: table(items, _EVENT, empty="No matching events."))


@command(events, "show", example="depesche events show 019afe2c-7a31-7cc4-b0a1-3d1f0a2b4c5d")
def show_event(
    session: Session, id: Annotated[str, typer.Argument(help="Depesche's id of the event (its cause id).")]
) -> None:
    """Show one event with its data and every communication's decision."""
    found = session.api.get(at_cause(_PATH, id))
    session.give(found, lambda event: facts({name: value for name, value in event.items() if name != "decisions"}))
    if not session.as_json:
        session.out.print(table(found.get("decisions") or [], _DECISION, empty="No communication is triggered by it."))


@command(rejections, "list", example="depesche rejections list --source shopify")
def list_rejections(
    session: Session,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    type: Annotated[str | None, typer.Option(help="Only this event type.")] = None,
    state: Annotated[str, typer.Option(help="open or replayed.")] = "open",
    limit: Most = 20,
) -> None:
    """List stored input that could not be mapped or did not match its schema, newest first."""
    query = {"source": source, "type": type, "state": state}
    found = list(session.api.items("/orders-notification/v1/rejections", most=limit, **query))
    session.give(found, lambda items: table(items, _REJECTION, empty="No rejections: everything could be read."))


@command(rejections, "replay", example="depesche rejections replay --source shopify")
def replay_rejections(
    session: Session,
    ids: Annotated[list[str] | None, typer.Argument(help="Which ones; default: all that match the options.")] = None,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    type: Annotated[str | None, typer.Option(help="Only this event type.")] = None,
) -> None:
    """Send stored rejections through intake again, oldest first, after the mapping or the schema was fixed."""
    body = {"ids": ids or None, "source": source, "type": type, "limit": _REPLAYED_AT_ONCE}
    given = {name: value for name, value in body.items() if value is not None}
    done: dict[str, Any] = {"replayed": 0, "rejected": 0, "results": []}
    while True:
        portion = session.api.post("/orders-notification/v1/rejections:replay", given)
        done = {name: total + portion[name] for name, total in done.items()}
        if portion["next_cursor"] is None:
            break
        given["cursor"] = portion["next_cursor"]
    session.give(done, lambda d: f"{d['replayed']} replayed, {d['rejected']} rejected again.")
    if done["rejected"]:
        raise typer.Exit(Exit.REFUSED)
