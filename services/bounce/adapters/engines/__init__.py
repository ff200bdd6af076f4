"""Engines that find a rule set's patterns in one pass over a text: Hyperscan if its wheel is installed, else re."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.adapters.engines.composite import CompositeScan
from services.bounce.domain.rules.ruleset import RuleSet, Scan

# rule sets are immutable and identified by digest, so all users in this process share one compiled scanner
_in_use: WeakValueDictionary[str, Scan] = WeakValueDictionary()
_one = Lock()


def compiled(rules: RuleSet, cache: Path | None = None) -> Scan:
    """Return a rule set's scanner. Takes up to seconds: call it off the event loop. `cache`: folder of databases."""
    with _one:
        scan = _in_use.get(rules.digest)
        if scan is None:
            scan = _in_use[rules.digest] = _compile(rules.patterns, rules.digest, cache)
        return scan


def compiled_beside(rules: RuleSet, base: tuple[RuleSet, Scan], cache: Path | None = None) -> Scan:
    """Return a rule set's scanner on top of another set's: only the missing patterns are compiled. A cached database is
    preferred."""
    if rules.digest in _in_use or (cache and any(cache.glob(f"{rules.digest}-*"))):
        return compiled(rules, cache)
    parts = base[1].parts if isinstance(base[1], CompositeScan) else ((base[0].patterns, base[1]),)
    there = {pattern for patterns, _ in parts for pattern in patterns}
    others = tuple(dict.fromkeys(pattern for pattern in rules.patterns if pattern not in there))
    return CompositeScan(rules.patterns, [*parts, (others, _compile(others, "", None))])


def _compile(patterns: Sequence[bytes], digest: str, cache: Path | None) -> Scan:
    if find_spec("hyperscan") is None:
        return ReScan(patterns)
    from services.bounce.adapters.engines.hyperscan import HyperscanScan

    return HyperscanScan(patterns, digest, cache)
