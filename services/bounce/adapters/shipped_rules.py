"""The rules that the product ships: services/bounce/shipped_rules/*.yaml, sorted by file name."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.assembling import Shipped
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import RuleSet, rules_of, signs_of

FOLDER = Path(__file__).parents[1] / "shipped_rules"
# the C loader is ten times faster; a build of PyYAML without it has only the other one
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def shipped() -> tuple[RuleSet, Providers]:
    """Return the shipped rule set, and how to recognise providers by host. Raises BadRule for a broken file."""
    parts = shipped_parts()
    return parts.rule_set, parts.providers


@cache
def shipped_parts() -> Shipped:
    """Return all shipped parts from which rule sets are assembled. Read once per process."""
    words, documents = _read("words"), _documents()
    rules = tuple(rules_of(documents, Layer.SHIPPED, words))
    by_id = {document["id"]: document for document in documents}
    return Shipped(rules, _signs(), words, Providers.of(_read("providers")), by_id)


def shipped_rules() -> list[Rule]:
    """Return every shipped rule, in order."""
    return rules_of(_documents(), Layer.SHIPPED, _read("words"))


def _documents() -> list[dict[str, Any]]:
    return [entry for path in sorted(FOLDER.glob("[0-9]*.yaml")) for entry in _load(path)]


def _signs() -> tuple[Any, ...]:
    stages, providers = _read("stages"), _read("providers")
    said = {name: entry["says"] for name, entry in providers.items() if entry.get("says")}
    return (*signs_of("stage", stages), *signs_of("provider", said), *signs_of("ours", _read("ours")))


def _read(name: str) -> Any:
    return _load(FOLDER / f"{name}.yaml")


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # both loaders are safe
