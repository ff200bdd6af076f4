"""Engines that find a rule set's patterns in one pass over a text. Hyperscan where its wheel is, else Python's re."""

from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.domain.rules.ruleset import RuleSet, Scan

# rule sets are immutable and named by their digest, so whoever compiles one in this process compiles it for all
_in_use: WeakValueDictionary[str, Scan] = WeakValueDictionary()
_one = Lock()


def compiled(rules: RuleSet, cache: Path | None = None) -> Scan:
    """The scanner of a rule set; takes up to seconds, so call it off the event loop. `cache`: where databases stay."""
    with _one:
        scan = _in_use.get(rules.digest)
        if scan is None:
            scan = _in_use[rules.digest] = _compile(rules, cache)
        return scan


def _compile(rules: RuleSet, cache: Path | None) -> Scan:
    if find_spec("hyperscan") is None:
        return ReScan(rules.patterns)
    from services.bounce.adapters.engines.hyperscan import HyperscanScan

    return HyperscanScan(rules.patterns, rules.digest, cache)
