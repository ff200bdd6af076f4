"""Report files for what was refused: opened before anything is sent, and never the input itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.errors import UsageError


@contextmanager
def opened(report: Path | None, source: Path | str) -> Iterator[BinaryIO | None]:
    """Give the report, empty, or None without one. Raises UsageError if it is the source or cannot be written."""
    if report is None:
        yield None
        return
    if report.exists() and Path(source).exists() and report.samefile(source):
        raise UsageError(f"The report {report} would overwrite the input.", hint="Give it another name.")
    try:
        stream = report.open("wb")
    except OSError as error:
        raise UsageError(f"The report {report} cannot be written: {error.strerror}; nothing was sent.") from error
    with stream:
        yield stream
