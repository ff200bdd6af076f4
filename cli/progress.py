"""How far a file is, for people who wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from cli.session import Session

Advance = Callable[[int], None]


@contextmanager
def importing(session: Session, size: int | None) -> Iterator[Advance]:
    """A bar over `size` bytes, or of unknown length; what it gives is told how many more are done. Not for scripts."""
    with Progress(
        TextColumn("Importing"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=session.err,
        disable=session.as_json or not session.err.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=size)
        yield lambda count: bar.update(task, advance=count)
