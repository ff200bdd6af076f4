"""`depesche recipients`: people and installations, imported from files, shown, erased."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from cli.api import Content, at
from cli.errors import ProblemAnswer, UsageError
from cli.exits import Exit
from cli.output import as_json, facts, safe, table
from cli.progress import importing
from cli.recipient_export import collected, counts
from cli.reports import opened
from cli.session import Session, command
from libs import exact_json
from libs.ids import recipient_key_of

recipients = typer.Typer(help="People and installations that we may write to.", no_args_is_help=True)

_PATH = "/tokens/v1/recipients"
_IMPORTS = "/tokens/v1/imports"
_ENDINGS = {".csv": "text/csv", ".tsv": "text/csv", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson"}
_RUNNING = ("waiting", "running")
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_STDIN = Path("-")
_SHOWN = 20
_PIECE = 1 << 16
_ADDRESS = ("id", "kind", "value", "installation", "platform", "created_at=since")
_CONSENT = ("topic", "channel", "granted", "at", "how", "text_version=text version")

Key = Annotated[
    str,
    typer.Argument(
        help="customer:4711 or installation:<id>; a bare id is a customer's.",
        callback=lambda text: recipient_key_of(text) if text else text,
    ),
]


@command(recipients, "import", example="depesche recipients import customers.csv --report refused.ndjson")
def import_file(
    session: Session,
    file: Annotated[Path, typer.Argument(help="CSV (with a header) or NDJSON; - reads standard input.")],
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="What a column means, if its name does not say so: 'Klaviyo ID=customer_id', "
            "'Email Marketing Consent=consent.news.email', 'Size=attributes.size'. Can be given again."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="File for every refused row, as NDJSON.")] = None,
    format: Annotated[str | None, typer.Option(help="csv or ndjson, if the file's name does not say so.")] = None,
) -> None:
    """Import recipients. Existing ones are changed; exit code 1 if a row was refused."""
    media = _media_type(file, format)
    with opened(report, file) as reported:
        done = _ended(session, _sent(session, file, media, column))
        refusals = list(_refusals(session, done)) if done["refused"] else []
        if reported is not None:
            reported.writelines(exact_json.dumps(refusal) + b"\n" for refusal in refusals)
    session.give({**done, "refusals": refusals}, lambda found: _summary(found, file))
    if not session.as_json:
        _list_refusals(session, refusals, report)
    if done["refused"] or done["state"] != "done":
        raise typer.Exit(Exit.REFUSED)


def _sent(session: Session, file: Path, media: str, column: list[str] | None) -> dict[str, Any]:
    try:
        with _opened(file) as stream, importing(session, _size(file)) as advance:
            started: dict[str, Any] = session.api.post(
                _IMPORTS, Content(_pieces(stream, advance), media), column=column
            )
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    return started


def _media_type(file: Path, format: str | None) -> str:
    ending = f".{format.lower()}" if format else file.suffix.lower()
    if media := _ENDINGS.get(ending):
        return media
    if format:
        raise UsageError(f"There is no format {format!r}.", hint="Use --format csv or --format ndjson.")
    if ending in _SPREADSHEETS:
        raise UsageError(f"{file} is a spreadsheet file.", hint="Save it as CSV first.")
    raise UsageError(f"The format of {_called(file)} is unclear.", hint="Add --format csv or --format ndjson.")


def _called(file: Path) -> str:
    return "standard input" if file == _STDIN else str(file)


def _opened(file: Path) -> BinaryIO:
    return sys.stdin.buffer if file == _STDIN else file.open("rb")


def _size(file: Path) -> int | None:
    return None if file == _STDIN else file.stat().st_size


def _pieces(stream: BinaryIO, advance: Any) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece
        advance(len(piece))


def _ended(session: Session, started: dict[str, Any]) -> dict[str, Any]:
    """Return the finished import; one that continues in the suite is polled until it is done."""
    current = started
    with _waiting(session, "Importing …"):
        while current["state"] in _RUNNING:
            threading.Event().wait(0.5)
            current = session.api.get(f"{_IMPORTS}/{started['id']}")
    return current


def _waiting(session: Session, words: str) -> AbstractContextManager[Any]:
    """Show these words until it is done, if somebody watches."""
    return session.err.status(words) if session.err.is_terminal else nullcontext()


def _refusals(session: Session, done: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not done.get("refusals_cursor"):
        yield from done.get("refusals", ())
        return
    yield from session.api.items(f"{_IMPORTS}/{done['id']}/refusals")


def _summary(done: dict[str, Any], file: Path) -> str:
    rows = f"{done['rows']:,} {'row' if done['rows'] == 1 else 'rows'} of {safe(_called(file))}"
    text = f"{rows}: [green]{done['created']:,} new[/], {done['changed']:,} changed"
    text += f", {done['unchanged']:,} unchanged"
    text += f", [red]{done['refused']:,} refused[/]." if done["refused"] else ", none refused."
    if done.get("ignored_columns"):
        text += f"\nUnknown columns, ignored: {safe(', '.join(done['ignored_columns']))}."
        text += "\nTo import one, say what it means: --column 'Its name=email', =attributes.size, =consent.news.email …"
    if done.get("problem"):
        text += f"\n[red]It stopped: {safe(done['problem'])}[/]"
    return text


def _list_refusals(session: Session, refusals: list[dict[str, Any]], report: Path | None) -> None:
    for refusal in refusals[:_SHOWN]:
        field = f" {refusal['field']}" if refusal.get("field") else ""
        session.err.print(f"[red]line {refusal['line']}[/]{safe(field)}: {safe(refusal['reason'])}")
    if len(refusals) > _SHOWN:
        rest = f"… and {len(refusals) - _SHOWN:,} more"
        session.err.print(f"{rest} in {safe(str(report))}." if report else f"{rest}: --report FILE writes all of them.")


@command(recipients, "show", example="depesche recipients show customer:4711")
def show(session: Session, key: Key) -> None:
    """Show one recipient with addresses and consents. Masked, unless the key has pii:read."""
    found = session.api.get(_at(key))
    lists = ("devices", "emails", "phones", "webhooks", "consents")
    session.give(found, lambda r: facts({name: value for name, value in r.items() if name not in lists}))
    if session.as_json:
        return
    for name in lists:
        if found.get(name):
            columns = _CONSENT if name == "consents" else _ADDRESS
            present = [c for c in columns if any(item.get(c.partition("=")[0]) is not None for item in found[name])]
            session.out.print(f"\n[bold]{name}[/]")
            session.out.print(table(found[name], present))


@command(recipients, "export", example="depesche recipients export customer:4711 --out ada.json")
def export(
    session: Session,
    key: Key,
    out: Annotated[
        Path | None, typer.Option(help="File to write, readable by you alone; default: standard output.")
    ] = None,
) -> None:
    """Collect everything that is known about a recipient, as one JSON document: for a request for access (GDPR,
    article 15). Needs a key with pii:read."""
    with _waiting(session, "Collecting …"):
        document = collected(session.api, key, datetime.now(UTC))
    if out is None:
        sys.stdout.write(as_json(document) + "\n")
        return
    with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)  # it may have existed
        file.write(as_json(document) + "\n")
    session.give({"key": key, "file": str(out), "exported": counts(document)}, lambda done: _exported(document, out))


def _exported(document: dict[str, Any], out: Path) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in counts(document).items())
    text = f"{safe(str(out))}: {parts}."
    if shared := sum(event["names_others"] for event in document["events"]):
        text += (
            f"\n[yellow]{shared:,} of the events also name other recipients[/] (names_others); read their data first."
        )
    return text


_NOTES = "Notes that people wrote (on holds, suppressions, dead letters) are not searched for names."


@command(recipients, "erase", example="depesche recipients erase customer:4711 --yes")
def erase(
    session: Session,
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Erase a recipient's data in every service. It cannot be undone; sent messages stay counted, anonymously.
    Operators' notes are not searched for names."""
    if not yes:
        if session.as_json or not session.out.is_terminal:
            raise UsageError("Erasing cannot be undone.", hint="Confirm with --yes.")
        typer.confirm(f"Erase {key} permanently?", abort=True)
    known = _is_known(session, key)
    session.api.delete(_at(key))
    done = f"{safe(key)} is erased; the other services follow."
    if not known:  # misspelt, or erased before; what names the key elsewhere is erased all the same
        done = f"There was no recipient {safe(key)}: check the key. The other services erase what they have under it."
    session.give({"key": key, "erased": True, "known": known}, lambda _: f"{done} {_NOTES}")


def _is_known(session: Session, key: str) -> bool:
    try:
        session.api.get(_at(key))
    except ProblemAnswer as problem:
        return problem.exit_code is not Exit.NOT_FOUND  # an API key that may erase need not be able to read
    return True


def _at(key: str) -> str:
    return at(_PATH, key, slashes=True)
