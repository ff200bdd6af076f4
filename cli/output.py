"""Output formats: tables and sentences for people, one JSON document for scripts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TextIO

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cli.errors import CliError
from libs import exact_json

_FIRST = ("id", "number", "name", "type")
_STYLES = {
    "sent": "green",
    "accepted": "green",
    "active": "green",
    "published": "green",
    "created": "green",
    "changed": "yellow",
    "failed": "red",
    "rejected": "red",
    "revoked": "red",
    "unknown": "magenta",
    "skipped": "yellow",
    "suppressed": "yellow",
    "pending": "cyan",
    "draft": "cyan",
}


# what a terminal would obey instead of showing: C0 and C1 controls, and what changes the direction of text
_OBEYED = {code: chr(0x2400 + code) for code in range(0x20) if code not in b"\t\n"}
_OBEYED |= dict.fromkeys([*range(0x7F, 0xA0), 0x61C, *range(0x2028, 0x202F), *range(0x2066, 0x206A)], "\ufffd")


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Names, subjects and providers' replies come from outside: mark in them what a terminal would obey."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(_OBEYED), style, control)

    def on_broken_pipe(self) -> None:
        # the reader of the pipe (head) has seen enough: the work is done, and the exit code says so, not rich's 1
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def console(stream: TextIO) -> Console:
    """Return a console on a stream; a pipe gets plain text, not folded at 80 columns."""
    made = _Console(file=stream, soft_wrap=False)
    return made if made.is_terminal else _Console(file=stream, width=200, no_color=True)


def as_json(data: Any) -> str:
    """Return JSON with exact numbers, indented."""
    return msgspec.json.format(exact_json.dumps(data), indent=2).decode()


def table(items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str = "Nothing yet.") -> RenderableType:
    """Return items as rows. A column is a field's name, with `=heading` if that differs."""
    rows = list(items)
    if not rows:
        return Text(empty, style="dim")
    made = Table(box=None, pad_edge=False, header_style="bold")
    names = [column.partition("=") for column in columns]
    for field, _, heading in names:
        numeric = all(isinstance(row.get(field), int | Decimal) and row.get(field) is not True for row in rows)
        made.add_column(heading or field.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell(row.get(field)) for field, _, _ in names))
    return made


def facts(data: Any) -> RenderableType:
    """Return an object as names and values; lists in it as short texts."""
    if not isinstance(data, Mapping):
        return cell(data)
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name in sorted(data, key=_rank):  # its name and id come first; the rest keeps its order
        value = data[name]
        made.add_row(str(name).replace("_", " "), cell(value))
    return made


def _rank(name: object) -> int:
    return _FIRST.index(str(name)) if name in _FIRST else len(_FIRST)


def cell(value: Any) -> Text:
    """Return one value, safe from markup in it."""
    match value:
        case None | "" | []:
            return Text("–", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case datetime():
            return Text(moment(value.isoformat()))
        case str():
            return Text(moment(value), style=_STYLES.get(value, ""))
        case dict() if not value:  # a pattern {} would match any mapping
            return Text("–", style="dim")
        case list() if all(isinstance(item, str | int) for item in value):
            return Text(", ".join(str(item) for item in value))
        case list() | dict():
            return Text(exact_json.dumps(value).decode())
    return Text(str(value))


def moment(text: str) -> str:
    """Return an ISO time in UTC as people read it; any other text unchanged."""
    if len(text) < 20 or text[4] != "-" or text[10] != "T":
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def problem(error: CliError) -> RenderableType:
    """Return what went wrong, where, and what to do."""
    lines: list[RenderableType] = [Text.assemble(("✗ ", "red bold"), (error.title, "bold"))]
    lines += [Text.assemble("  ", (f"{field.pointer or 'body'}: ", "cyan"), field.detail) for field in error.fields]
    if error.hint:
        lines.append(Text(f"  {error.hint}"))
    return Group(*lines)


def safe(text: str) -> str:
    """Escape text from outside for use between our own markup."""
    return escape(text)
