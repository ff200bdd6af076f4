"""The rules that come with the product: services/bounce/shipped_rules/*.yaml, in the order of their names."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.assembling import Shipped
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import RuleSet, rules_of, signs_of

FOLDER = Path(__file__).parents[1] / "shipped_rules"
# the C loader is ten times faster; a build of PyYAML without it has the other
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def shipped() -> tuple[RuleSet, Providers]:
    """The shipped rule set, and how to tell providers by their hosts. Raises BadRule where a file is broken."""
    parts = shipped_parts()
    return parts.rule_set, parts.providers


@cache
def shipped_parts() -> Shipped:
    """All that comes with the product, from which rule sets are put together. Read once a process."""
    words, documents = _read("words"), _documents()
    rules = tuple(rules_of(documents, Layer.SHIPPED, words))
    by_id = {document["id"]: document for document in documents}
    return Shipped(rules, _signs(), words, Providers.of(_read("providers")), by_id)


def shipped_rules() -> list[Rule]:
    """Every shipped rule, in order."""
    return rules_of(_documents(), Layer.SHIPPED, _read("words"))


def _documents() -> list[dict[str, Any]]:
    return [entry for path in sorted(FOLDER.glob("[0-9]*.yaml")) for entry in _load(path)]


def _signs() -> tuple[Any, ...]:
    stages, providers = _read("stages"), _read("providers")
    said = {name: entry["says"] for name, entry in providers.items() if entry.get("says")}
    return (*signs_of("stage", stages), *signs_of("provider", said))


def _read(name: str) -> Any:
    return _load(FOLDER / f"{name}.yaml")


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # safe loaders both
