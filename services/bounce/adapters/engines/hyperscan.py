"""Hyperscan as the engine: one database of all patterns, one pass over a text, linear for every text.

Its traps, and our solutions: a scratch space belongs to one thread at a time (scanning releases the GIL), so every
thread has its own; compiling takes seconds, so databases are cached by digest; a cached database fits one version and
one kind of processor, so any that does not load is compiled again. UTF-8 mode makes compiling ten times slower and the
database five times larger, so texts and patterns are lower-case bytes instead, and no flag is needed. A gap costs
milliseconds and 15 kB to compile: only a few hundred patterns with gaps are compiled whole (gaps.py).
"""

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import hyperscan

from libs.telemetry import get_logger
from services.bounce.adapters.engines.gaps import Plan, Rests, planned
from services.bounce.ports.rules import UnfitPattern

log = get_logger(__name__)

_KEPT = 8  # databases, 3 MB each
_TORN_SECONDS = 3_600.0  # a partial file older than this has no writer any more
_FLAGS = hyperscan.HS_FLAG_SINGLEMATCH


class _Scratch(threading.local):
    """One thread's scratch space."""

    def __init__(self, database: hyperscan.Database) -> None:
        self.space = hyperscan.Scratch(database)


class HyperscanScan:
    """Returns the indices of the patterns in a text. Thread-safe."""

    def __init__(self, patterns: Sequence[bytes], digest: str, cache: Path | None = None) -> None:
        plan = planned(patterns)
        self._database = _database(plan, patterns, digest, cache) if patterns else None
        self._rests = Rests(plan, len(patterns)) if plan.rests else None
        self._scratch = _Scratch(self._database) if self._database else None

    def __call__(self, words: bytes) -> list[int]:
        found: list[int] = []
        if self._database is not None and self._scratch is not None:
            self._database.scan(words, _found, context=found, scratch=self._scratch.space)
        return found if self._rests is None else self._rests.settle(words, found)


def _found(number: int, _begin: int, _end: int, _flags: int, found: object) -> None:
    found.append(number)  # type: ignore[attr-defined]  # the list that was passed to scan


def _database(plan: Plan, patterns: Sequence[bytes], digest: str, cache: Path | None) -> hyperscan.Database:
    kept = cache / _name(plan, digest) if cache else None
    if kept is not None and kept.is_file():
        try:
            loaded = hyperscan.loadb(kept.read_bytes(), mode=hyperscan.HS_MODE_BLOCK)
            os.utime(kept, ns=(time.time_ns(), kept.stat().st_mtime_ns))  # in use: _tidy keeps it
            return loaded
        except (hyperscan.error, OSError, ValueError) as error:
            log.warning("bounce_rules_compiled_again", error=repr(error))
    try:
        database = _compile(plan.expressions, plan.numbers)
    except hyperscan.error as error:
        raise _unfit(patterns) or error from error
    if kept is not None:
        _keep(kept, hyperscan.dumpb(database))
    return database


def _compile(expressions: Sequence[bytes], numbers: Sequence[int]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=list(expressions),
        ids=list(numbers),
        elements=len(expressions),
        flags=[_FLAGS] * len(expressions),
    )
    return database


def _unfit(patterns: Sequence[bytes]) -> UnfitPattern | None:
    """Find the pattern at fault: the library does not name it."""
    for pattern in patterns:
        try:
            _compile([pattern], [0])
        except hyperscan.error as error:
            return UnfitPattern(pattern, str(error))
    return None


def _name(plan: Plan, digest: str) -> str:
    layout = (b"%d %s" % pair for pair in zip(plan.numbers, plan.expressions, strict=True))
    made_by = hashlib.sha256(b"\0".join((version("hyperscan").encode(), *layout))).hexdigest()[:12]
    return f"{digest}-{made_by}.hsdb"


def _keep(path: Path, data: bytes) -> None:
    """Write to a temporary file and rename it: several processes start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.part")
    beside.write_bytes(data)
    beside.replace(path)
    _tidy(path.parent)


def _tidy(folder: Path) -> None:
    """Delete old databases: the latest used stay, for rollbacks and for processes that start."""
    aged = sorted(((_age(path), path) for path in folder.iterdir()), reverse=True)
    databases = [path for _, path in aged if path.suffix == ".hsdb"]
    torn = [path for at, path in aged if path.suffix == ".part" and at < time.time() - _TORN_SECONDS]
    for path in (*databases[_KEPT:], *torn):
        path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Return when it was last used."""
    try:
        return path.stat().st_atime
    except FileNotFoundError:  # another process has just deleted it
        return 0.0
