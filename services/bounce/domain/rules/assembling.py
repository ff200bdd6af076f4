"""Owns how a rule set is assembled: the shipped rules, without those that people switched off, then their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.patterns import Words
from services.bounce.domain.rules.rule import LONGEST_TEXT, BadRule, Layer, Problem, Rule, rule_of
from services.bounce.domain.rules.ruleset import RuleSet, Sign

SWITCH = "switches_off"
MOST_RULES = 5_000
MOST_PATTERNS = 30_000
MOST_EXAMPLES = 50


@dataclass(frozen=True)
class Shipped:
    """What the product ships: rules, signs, named sets of words, and how providers are recognised."""

    rules: tuple[Rule, ...]
    signs: tuple[tuple[bytes, Sign], ...]
    words: Words
    providers: Providers
    documents: Mapping[str, Mapping[str, Any]]  # by id, as written

    @cached_property
    def rule_set(self) -> RuleSet:
        """The shipped rules alone; built once, since this set is in force until somebody publishes one."""
        return RuleSet(self.rules, self.signs)

    @property
    def provider_names(self) -> frozenset[str]:
        said = {sign.value for _, sign in self.signs if sign.kind == "provider"}
        return frozenset(self.providers.hosts.values()) | frozenset(self.providers.domains.values()) | said


class Assembled(NamedTuple):
    """`problems`: by rule, of those left out. `off`: shipped rules, each with the rule that switched it off."""

    rules: RuleSet
    problems: Mapping[str, Sequence[Problem]]
    off: Mapping[str, str]


def assemble(shipped: Shipped, entries: Sequence[Published]) -> Assembled:
    """Assemble a rule set. Unusable rules are left out and reported: a newer product may know fewer names."""
    problems: dict[str, Sequence[Problem]] = {}
    own: list[Rule] = []
    off = switched_off(entries)
    for entry in sorted(entries, key=lambda e: e.layer):
        if entry.id in off:
            continue
        try:
            if (rule := rule_of_entry(entry, shipped)) is not None:
                own.append(rule)
        except BadRule as error:
            problems[entry.id] = error.problems
    taken = {rule.id for rule in own}
    # if the product now ships a rule with an id that people use, theirs stays
    kept = [rule for rule in shipped.rules if rule.id not in off and rule.id not in taken]
    rules = (*kept, *own)
    made = shipped.rule_set if rules == shipped.rules else RuleSet(rules, shipped.signs)
    return Assembled(made, problems, off)


def switched_off(entries: Sequence[Published]) -> dict[str, str]:
    """Return the rules that live rules switch off in lower layers, each with the rule that does it."""
    return {id_: entry.id for id_, entry in _switching(entries) if _layer_of(id_, entries) < entry.layer}


def _switching(entries: Sequence[Published]) -> Iterator[tuple[str, Published]]:
    live = [entry for entry in entries if entry.state is State.LIVE]
    return ((str(id_), entry) for entry in live for id_ in _switches(entry.document))


def _layer_of(id_: str, entries: Sequence[Published]) -> Layer:
    return next((entry.layer for entry in entries if entry.id == id_), Layer.SHIPPED)


def rule_of_entry(entry: Published, shipped: Shipped) -> Rule | None:
    """Build an entry's rule; None if all it does is to switch others off. Raises BadRule, with all problems."""
    document = {name: value for name, value in entry.document.items() if name != SWITCH}
    problems = [*_general(entry, shipped)]
    made: Rule | None = None
    if not (set(document) <= {"note"} and _switches(entry.document)):
        try:
            shadow = entry.state is not State.LIVE
            made = rule_of({"id": entry.id, **document}, entry.layer, shipped.words, shadow=shadow)
        except BadRule as error:
            problems += error.problems
    if problems:
        raise BadRule(problems, entry.id)
    return made


def _switches(document: Mapping[str, Any]) -> Sequence[Any]:
    value = document.get(SWITCH) or ()
    return value if isinstance(value, list | tuple) else (value,)


def _general(entry: Published, shipped: Shipped) -> Iterator[Problem]:
    """Checks that apply only to rules that people write."""
    if entry.layer is Layer.SHIPPED:
        yield Problem("/layer", "shipped rules cannot be edited; write a rule in the layer organisation")
    known = shipped.provider_names
    providers = entry.document.get("provider") or ()
    for name in providers if isinstance(providers, list | tuple) else (providers,):
        if isinstance(name, str) and name not in known:
            yield Problem("/provider", f"there is no provider {name}; the providers are {', '.join(sorted(known))}")
    if len(entry.document.get("examples") or ()) > MOST_EXAMPLES and isinstance(entry.document["examples"], list):
        yield Problem("/examples", f"there are more than {MOST_EXAMPLES}")
    for number, id_ in enumerate(_switches(entry.document)):
        if not isinstance(id_, str) or len(id_) > LONGEST_TEXT or id_ == entry.id:
            yield Problem(f"/{SWITCH}/{number}", "name the id of another rule")


def problems_of(shipped: Shipped, entries: Sequence[Published]) -> list[tuple[str, list[Problem]]]:
    """Return all problems of a set, by rule, before its examples are tested."""
    made = assemble(shipped, entries)
    found = [(id_, list(problems)) for id_, problems in made.problems.items()]
    known = {rule.id for rule in shipped.rules} | {entry.id for entry in entries}
    for id_, by in _switching(entries):
        if id_ not in known:
            found.append((by.id, [Problem(f"/{SWITCH}", f"there is no rule {id_} to switch off")]))
        elif _layer_of(id_, entries) >= by.layer:
            found.append((by.id, [Problem(f"/{SWITCH}", f"{id_} is in no layer below; retire it instead")]))
    if len(entries) > MOST_RULES:
        found.append((entries[-1].id, [Problem("", f"there are more than {MOST_RULES} rules; retire some")]))
    if len(made.rules.patterns) > MOST_PATTERNS:
        detail = f"{len(made.rules.patterns):,} patterns in all; the maximum is {MOST_PATTERNS:,}; retire some rules"
        found.append((entries[-1].id, [Problem("", detail)]))
    return found
