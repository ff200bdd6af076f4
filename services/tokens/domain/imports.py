"""The counters and refusals of an import."""

from dataclasses import dataclass, field

from services.tokens.domain.recipients import Change


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused field of a row. `row` 1 is the first after the header, `line` is the file's."""

    row: int
    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be written. `topics`: for each of its statements, where its topic was."""

    row: int
    line: int
    change: Change
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows read from a file, and refused ones; `read` counts both, `bytes` is how far the file was read."""

    rows: tuple[Row, ...]
    refusals: tuple[Refusal, ...]
    read: int
    bytes: int
    ignored_columns: tuple[str, ...] = ()


@dataclass(slots=True)
class Account:
    """The counters of an import: rows = created + changed + unchanged + refused."""

    bytes: int = 0
    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    ignored_columns: tuple[str, ...] = ()
    problem: str | None = None
    kept: int = field(default=0)
