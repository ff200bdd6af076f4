"""The rules that come with the product: services/bounce/shipped_rules/*.yaml, in the order of their names."""

from pathlib import Path
from typing import Any

import yaml

from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import RuleSet, rules_of, signs_of

FOLDER = Path(__file__).parents[1] / "shipped_rules"
# the C loader is ten times faster; a build of PyYAML without it has the other
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def shipped() -> tuple[RuleSet, Providers]:
    """The shipped rule set, and how to tell providers by their hosts. Raises BadRule where a file is broken."""
    words = _read("words")
    return RuleSet(tuple(shipped_rules(words)), _signs()), Providers.of(_read("providers"))


def shipped_rules(words: dict[str, list[str]] | None = None) -> list[Rule]:
    """Every shipped rule, in order."""
    known = words or _read("words")
    documents = [entry for path in sorted(FOLDER.glob("[0-9]*.yaml")) for entry in _load(path)]
    return rules_of(documents, Layer.SHIPPED, known)


def _signs() -> tuple[Any, ...]:
    stages, providers = _read("stages"), _read("providers")
    said = {name: entry["says"] for name, entry in providers.items() if entry.get("says")}
    return (*signs_of("stage", stages), *signs_of("provider", said))


def _read(name: str) -> Any:
    return _load(FOLDER / f"{name}.yaml")


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # safe loaders both
