"""Progress through a file, for people who wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.session import Session

Advance = Callable[[int], None]


@contextmanager
def importing(session: Session, size: int | None) -> Iterator[Advance]:
    """Show a bar over `size` bytes (None: unknown); call what it yields with the number of further bytes done.

    Not for scripts.
    """
    with Progress(
        TextColumn("Importing"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=session.err,
        disable=session.as_json or not session.err.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=size)
        yield lambda count: bar.update(task, advance=count)
