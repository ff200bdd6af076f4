"""What `depesche templates preview` reads from files and from the suite, and how it shows a rendered template."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from cli.apply import EVENT_TYPE
from cli.errors import ProblemAnswer, UsageError
from cli.session import Session
from libs import exact_json


def event_in(path: Path | None) -> Any:
    """Return the event in a file, or its data as an event. Raises UsageError."""
    found = object_in(path)
    # a file with only the data is what people have at hand
    return found if found is None or "data" in found else {"data": found}


def object_in(path: Path | None) -> Any:
    """Return the JSON object in a file; None without a file. Raises UsageError."""
    if path is None:
        return None
    try:
        found = exact_json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} does not contain a JSON object.")
    return found


def schema_for(session: Session, wanted: str | None, of_event: Any) -> Any:
    """Return the schema of an event type, else of the event's own; None if that is not declared or not readable."""
    name = wanted or of_event
    if not isinstance(name, str) or not name:
        return None
    try:
        return session.api.get(EVENT_TYPE.at(name))["schema"]
    except ProblemAnswer as problem:
        if wanted is None and problem.status in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
            return None
        raise


def preview_shown(found: dict[str, Any]) -> RenderableType:
    """Return a preview as a panel: each part with its size, then the warnings."""
    lines = Text()
    sizes = found.get("sizes") or {}
    for name, value in found["parts"].items():
        if value in (None, "", {}):
            continue
        size = f"  ({sizes[name]})" if name in sizes else ""
        lines.append(name, style="bold cyan").append(f"{size}\n", style="dim")
        lines.append(f"{value if isinstance(value, str) else exact_json.dumps(value).decode()}\n")
    for warning in found.get("warnings") or ():
        lines.append(f"! {_words(warning)}\n", style="yellow")
    others = [f"{name.replace('_', ' ')}: {size}" for name, size in sizes.items() if name not in found["parts"]]
    title = " · ".join([f"locale: {found['locale']}", *others])
    lines.rstrip()
    return Panel(lines, title=title, title_align="left", expand=False)


def _words(warning: Any) -> str:
    if isinstance(warning, dict):
        return f"{warning.get('pointer', '')} {warning.get('detail', '')}".strip()
    return str(warning)
