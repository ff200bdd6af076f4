"""`depesche why` and `timeline`: what happened, in plain words, with the chain of facts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.errors import UsageError
from cli.exits import Exit
from cli.output import moment, table
from cli.session import Session, command
from libs import exact_json

_STYLES = {"sent": "green", "sent_twice": "yellow", "not_yet": "cyan", "unknown": "magenta", "no_trace": "magenta"}
_ABOUT = ("communication", "recipient", "order")
_OTHER = ("at", "communication", "recipient", "order", "verdict", "sentence")
_MOST = 1_000  # messages of a page
_ACTION = ("at", "actor", "action", "object", "note")

Recipient = Annotated[str | None, typer.Option(help="customer:4711 or installation:<id>.")]
Order = Annotated[str | None, typer.Option(help="The order number, or another subject of the event.")]
Message = Annotated[str | None, typer.Option(help="A message's id.")]
Address = Annotated[str | None, typer.Option(help="An address; only its hash is searched.")]
Communication = Annotated[str | None, typer.Option(help="Only this communication.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "why", example="depesche why --recipient customer:4711 --order 100045")(why)
    command(app, "timeline", example="depesche timeline --order 100045")(timeline)
    command(app, "actions", example="depesche actions --action hold.place")(actions)


def why(
    session: Session,
    recipient: Recipient = None,
    order: Order = None,
    communication: Communication = None,
    message: Message = None,
    event: Annotated[str | None, typer.Option(help="The event's id: the shop's, or ours.")] = None,
    address: Address = None,
) -> None:
    """Explain why somebody did, or did not, get a message. Exit code 0 if it was sent once, 1 for any other verdict."""
    question = {"recipient": recipient, "order": order, "communication": communication}
    question |= {"message": message, "event": event, "address": address}
    _ask_something(question)
    answer = session.api.get("/history/v1/why", **question)
    session.give(answer, _explained)
    if answer["verdict"] != "sent":
        raise typer.Exit(Exit.REFUSED)


def timeline(
    session: Session,
    recipient: Recipient = None,
    order: Order = None,
    message: Message = None,
    communication: Communication = None,
    address: Address = None,
    limit: Annotated[int, typer.Option(help="Maximum number of messages, the newest ones.", min=1, max=_MOST)] = 50,
) -> None:
    """Show everything that happened to a recipient, an order, a message or an address, in order of time."""
    question = {"recipient": recipient, "order": order, "message": message, "address": address}
    _ask_something(question)
    page = session.api.get("/history/v1/timeline", limit=limit, communication=communication, **question)
    found = sorted(page["items"], key=lambda entry: str(entry["at"]))
    session.give({**page, "items": found}, lambda _: _timeline(found))
    if not page.get("complete", True):
        session.say("[yellow]Decisions and other events are missing: their store is unavailable.[/]")
    if page.get("next_cursor"):
        more = f"--limit {min(limit * 4, _MOST)} shows more" if limit < _MOST else "narrow the question to see them"
        session.say(f"[dim]There are older messages: {more}.[/]")


def actions(
    session: Session,
    actor: Annotated[str | None, typer.Option(help="By whom: a key's id, or system.")] = None,
    action: Annotated[str | None, typer.Option(help="What: key.create, hold.place …")] = None,
    object: Annotated[str | None, typer.Option(help="The object: a name or an id.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50,
) -> None:
    """List who changed what: people, keys and the suite itself, newest first."""
    query = {"actor": actor, "action": action, "object": object}
    found = list(session.api.items("/history/v1/actions", most=limit, **query))
    session.give(found, lambda items: table(items, _ACTION, empty="No matching actions."))


def _ask_something(question: Mapping[str, str | None]) -> None:
    wanted = {name: value for name, value in question.items() if name != "communication"}  # it only narrows
    if not any(wanted.values()):
        names = " or ".join(f"--{name}" for name in wanted)
        raise UsageError("There is nothing to look up.", hint=f"Give {names}.")


def _explained(answer: Mapping[str, Any]) -> RenderableType:
    said = Text(answer["sentence"], style="bold")
    if not answer["certain"]:
        said.append("\nThe facts allow another interpretation.", style="dim")
    said.append(f"\n→ {answer['next_step']}", style="not bold")
    about = " · ".join(str(answer[name]) for name in _ABOUT if answer.get(name))
    verdict = str(answer["verdict"])
    head = Text(f"{verdict.replace('_', ' ')}{'  ·  ' + about if about else ''}")
    parts: list[RenderableType] = [
        Panel(said, title=head, title_align="left", border_style=_STYLES.get(verdict, "red"), expand=False)
    ]
    if answer["facts"]:
        parts.append(chain(answer["facts"]))
    if answer.get("render"):
        parts.append(_text_again(answer["render"]))
    if answer["others"]:
        parts += [Text("\nOther matches, newest first", style="bold"), table(answer["others"], _OTHER)]
    parts += traces([answer])
    return Group(*parts)


def traces(shown: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Return links to the entries' traces, each once."""
    urls = dict.fromkeys(url for one in shown if (url := (one.get("links") or {}).get("trace")))
    return [Text(f"Trace: {url}", style="dim", overflow="fold") for url in urls]


def _timeline(entries: list[Mapping[str, Any]]) -> RenderableType:
    if not entries:
        return Text("Nothing is known about this.", style="dim")
    made = Table(box=None, show_header=False, pad_edge=False)
    for style in ("dim", "cyan", "bold", ""):  # the text is the widest column and shrinks first, but not alone
        made.add_column(style=style, overflow="fold")
    for entry in entries:
        about = Text(str(entry.get("communication") or ""))
        made.add_row(moment(str(entry["at"])), str(entry["source"]), about, Text(str(entry["text"])))
    return Group(made, *traces(entries))


def chain(facts: list[Mapping[str, Any]]) -> RenderableType:
    """Return facts in order of time: when, who says so, what."""
    made = Table(box=None, show_header=False, pad_edge=False)
    for style in ("dim", "cyan", ""):
        made.add_column(style=style, overflow="fold")
    for fact in facts:
        made.add_row(moment(str(fact["at"])), str(fact["source"]), Text(str(fact["text"])))
    return made


def _text_again(rendered: Mapping[str, Any]) -> RenderableType:
    match rendered["digest"]:
        case "equal":
            head = "What was sent, rendered again from its release (digest equal)"
        case "differs":
            head = f"Rendered again, it differs. {rendered.get('why') or ''}".rstrip()
        case _:
            head = f"It cannot be rendered again. {rendered.get('why') or ''}".rstrip()
    lines = Text()
    for name, value in (rendered.get("parts") or {}).items():
        text = value if isinstance(value, str) else exact_json.dumps(value).decode()
        lines.append(f"{name}: ", style="cyan")
        lines.append(f"{text}\n")
    lines.rstrip()
    return (
        Panel(lines, title=head, title_align="left", border_style="dim", expand=False)
        if lines
        else Text(head, style="dim")
    )
