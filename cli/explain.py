"""`depesche why` and `timeline`: what happened, in plain words, with the chain of facts."""

from collections.abc import Mapping
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
_OTHER = ("communication", "recipient", "order", "began", "code=verdict", "sentence")

Recipient = Annotated[str | None, typer.Option(help="customer:4711 or installation:<id>.")]
Order = Annotated[str | None, typer.Option(help="The order number, or whatever the event was about.")]
Message = Annotated[str | None, typer.Option(help="A message's id.")]
Communication = Annotated[str | None, typer.Option(help="Of this communication only.")]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "why", example="depesche why --recipient customer:4711 --order 100045")(why)
    command(app, "timeline", example="depesche timeline --order 100045")(timeline)


def why(
    session: Session,
    recipient: Recipient = None,
    order: Order = None,
    communication: Communication = None,
    message: Message = None,
    event: Annotated[str | None, typer.Option(help="The event's id: the shop's, or ours.")] = None,
) -> None:
    """Why somebody did, or did not, get a message. Exit code 0 where it was sent once, 1 for any other verdict."""
    question = {"recipient": recipient, "order": order, "communication": communication}
    question |= {"message": message, "event": event}
    _ask_something(question)
    answer = session.api.get("/history/v1/why", **question)
    session.give(answer, _explained)
    if answer["verdict"]["code"] != "sent":
        raise typer.Exit(Exit.REFUSED)


def timeline(
    session: Session,
    recipient: Recipient = None,
    order: Order = None,
    message: Message = None,
    address: Annotated[str | None, typer.Option(help="An address; only its hash is looked for.")] = None,
    limit: Annotated[int, typer.Option(help="How many facts at most.", min=1)] = 200,
) -> None:
    """Everything that happened to a recipient, an order, a message or an address, the oldest first."""
    question = {"recipient": recipient, "order": order, "message": message, "address": address}
    _ask_something(question)
    found = list(session.api.items("/history/v1/timeline", most=limit, **question))
    session.give(found, lambda facts: chain(facts) if facts else Text("Nothing is known about it.", style="dim"))


def _ask_something(question: Mapping[str, str | None]) -> None:
    if not any(question.values()):
        names = " or ".join(f"--{name}" for name in question)
        raise UsageError("Whom or what is it about?", hint=f"Give {names}.")


def _explained(answer: Mapping[str, Any]) -> RenderableType:
    verdict = answer["verdict"]
    style = _STYLES.get(verdict["code"], "red")
    said = Text(verdict["sentence"], style="bold")
    if not verdict.get("certain", True):
        said.append("\nThe facts allow another reading.", style="dim")
    said.append(f"\n→ {verdict['next_step']}", style="not bold")
    parts: list[RenderableType] = [
        Panel(said, title=verdict["code"].replace("_", " "), title_align="left", border_style=style)
    ]
    if answer.get("facts"):
        parts.append(chain(answer["facts"]))
    if answer.get("rendered"):
        parts.append(_text_again(answer["rendered"]))
    if answer.get("others"):
        parts += [Text("\nOther cases that fit, newest first", style="bold"), _others(answer["others"])]
    return Group(*parts)


def chain(facts: list[Mapping[str, Any]]) -> RenderableType:
    """Facts in order of time: when, who says so, what."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(style="cyan", no_wrap=True)
    made.add_column(overflow="fold")
    for fact in facts:
        made.add_row(moment(str(fact["at"])), str(fact["source"]), Text(str(fact["text"])))
    return made


def _text_again(rendered: Mapping[str, Any]) -> RenderableType:
    match rendered["digest"]:
        case "equal":
            head = "What was sent, rendered again from its release (digest equal)"
        case "differs":
            head = f"Rendered again it differs: {rendered.get('why') or 'name or locale changed since'}"
        case _:
            head = f"It cannot be rendered again: {rendered.get('why') or 'sealed or wiped'}"
    lines = Text()
    for name, value in (rendered.get("parts") or {}).items():
        text = value if isinstance(value, str) else exact_json.dumps(value).decode()
        lines.append(f"{name}: ", style="cyan")
        lines.append(f"{text}\n")
    return Panel(lines, title=head, title_align="left", border_style="dim") if lines else Text(head, style="dim")


def _others(others: list[Mapping[str, Any]]) -> RenderableType:
    rows = [{**other, **(other.get("verdict") or {})} for other in others]
    known = [column for column in _OTHER if any(row.get(column.partition("=")[0]) for row in rows)]
    return table(rows, known)
