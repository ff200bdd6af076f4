"""`depesche bounce replay`: what would be suppressed under other rules or settings."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.errors import CliError, UsageError
from cli.exits import Exit
from cli.moments import FORMS, TIME
from cli.output import safe, table
from cli.session import Session, command

commands = typer.Typer()  # part of `depesche bounce`

_PATH = "/bounce/v1/replays"
_OPEN = ("waiting", "running")
_SECONDS = 0.5
_LISTS = ("trusted_providers",)
_SUMS = ("side", "barred_all=barred", "barred_marketing=marketing barred", "parked", "rule_set=rule set")
_COUNT = ("change", "count", "category", "provider")
_MOVE = ("count", "provider", "was", "becomes", "bounce=example")
_CHANGE = ("change", "recipient", "scope", "provider", "said=text", "was", "becomes")
_REPLAY = ("id", "state", "created_at=asked", "rules", "facts", "appear", "vanish", "actor=by")


@command(commands, "replay", example="depesche bounce replay --from 4w --setting score_days=2")
def replay(
    session: Session,
    since: Annotated[str, typer.Option("--from", **TIME, help=f"Start time of the facts: {FORMS}.")],
    until: Annotated[str | None, typer.Option("--to", **TIME, help="End time; default: now.")] = None,
    rules: Annotated[
        str, typer.Option(help="in-force, working (as in the next rule set), or a rule set's number.")
    ] = "in-force",
    setting: Annotated[list[str] | None, typer.Option(help="A setting to try: score_days=2; may be repeated.")] = None,
    note: Annotated[str | None, typer.Option(help="Its purpose.")] = None,
    limit: Annotated[int, typer.Option(help="Number of addresses to show.", min=0)] = 20,
) -> None:
    """Replay the policy over stored facts; this changes nothing. Ctrl-C cancels it."""
    body = {"since": since, "rules": int(rules) if rules.isdecimal() else rules, "settings": _settings(setting or [])}
    named = {"until": until, "note": note}
    asked = session.api.post(_PATH, body | {name: value for name, value in named.items() if value is not None})
    done = _ended(session, asked)
    if done["state"] != "done":
        raise CliError(
            f"The replay {done['state']}.",
            exit_code=Exit.REFUSED,
            hint=safe(done.get("problem") or f"It is {done['id']}."),
        )
    changes = list(session.api.items(f"{_PATH}/{done['id']}/changes", most=limit)) if limit else []
    session.give(done | {"changes": changes}, _shown)


@command(commands, "replays", example="depesche bounce replays")
def replays(session: Session, limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 20) -> None:
    """List replays of the last 90 days, newest first."""
    found = list(session.api.items(_PATH, most=limit))
    session.give(found, lambda items: table([_line(item) for item in items], _REPLAY, empty="None yet."))


def _settings(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise UsageError(f"«{text}» is not a setting.", hint="Write it as --setting score_days=2.")
        name = name.strip()
        found[name] = [one.strip() for one in value.split(",")] if name in _LISTS else _number(name, value)
    return found


def _number(name: str, text: str) -> int | float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError as error:
        raise UsageError(f"{name} needs a number, not «{text}».") from error


def _ended(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    current = asked
    with _progress(session) as advance, _interrupted() as interrupted:
        while current["state"] in _OPEN:
            if interrupted.wait(_SECONDS):
                return dict(session.api.post(f"{_PATH}/{asked['id']}:cancel", {}))
            current = session.api.get(f"{_PATH}/{asked['id']}")
            advance(current)
    return current


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets, so that the suite does not continue what nobody waits for."""
    event = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(session: Session) -> Iterator[Any]:
    with Progress(
        TextColumn("Playing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("facts"),
        TimeElapsedColumn(),
        console=session.err,
        disable=session.as_json or not session.err.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda shown: bar.update(task, completed=shown["facts_done"], total=shown["facts_total"])


def _shown(done: dict[str, Any]) -> RenderableType:
    result = done["result"]
    counts = [{"change": word} | item for word in ("appearing", "vanishing") for item in result[word]]
    head = f"{result['facts']:,} facts about {result['addresses']:,} addresses: "
    head += f"{result['appear']:,} more would be suppressed, {result['vanish']:,} would not.\n"
    return Group(
        head,
        table([{"side": side} | result[side] for side in ("before", "after")], _SUMS),
        "",
        table(counts, _COUNT, empty="Nobody's suppression would change."),
        "",
        table(
            [item | _sides(item) for item in result["moves"][:20]],
            _MOVE,
            empty="Every fact would be read the same way.",
        ),
        "",
        table([_change(item) for item in done["changes"]], _CHANGE, empty=""),
    )


def _change(item: dict[str, Any]) -> dict[str, Any]:
    return item | _sides(item) | {"change": "appears" if item["appears"] else "vanishes", "said": item["text"]}


def _sides(item: dict[str, Any]) -> dict[str, str]:
    return {
        side: " by ".join(filter(None, (item[side]["category"], item[side]["rule"]))) for side in ("was", "becomes")
    }


def _line(item: dict[str, Any]) -> dict[str, Any]:
    result = item["result"] or {}
    return item | {name: result.get(name) for name in ("facts", "appear", "vanish")} | {"rules": item["asked"]["rules"]}
