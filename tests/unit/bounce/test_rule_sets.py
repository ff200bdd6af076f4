"""How a rule set is assembled from shipped rules and an organisation's, and what effect a change had."""

from typing import Any

import pytest

from services.bounce.adapters.engines import backtracking, compiled_beside
from services.bounce.adapters.rulebook import PublishedRulebook
from services.bounce.adapters.shipped_rules import shipped_parts
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.rules.assembling import MOST_RULES, assemble, problems_of, switched_off
from services.bounce.domain.rules.effects import difference, is_effect
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.regression import lost_of, own_lost, taken
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import Reply, RuleSet
from services.bounce.ports.rules import UnfitPattern
from tests.compiled import compiled_rules as shipped_rules

SHIPPED = shipped_parts()
GONE = "550 5.1.1 User unknown"


def own(id: str = "ours", layer: Layer = Layer.ORGANISATION, state: State = State.LIVE, **document: Any) -> Published:
    return Published(id, layer, state, 1, {"category": "policy", "contains": "house rule", **document})


def switch(id: str, *ids: str, layer: Layer = Layer.ORGANISATION, state: State = State.LIVE) -> Published:
    return Published(id, layer, state, 1, {"switches_off": list(ids)})


def classifier(*entries: Published) -> Classifier:
    made = assemble(SHIPPED, entries).rules
    base = shipped_rules()
    return Classifier(made, compiled_beside(made, (base.rules, base.scan)), SHIPPED.providers)


def test_without_own_rules_the_shipped_set_applies() -> None:
    assert assemble(SHIPPED, []).rules.digest == shipped_rules().rules.digest


def test_higher_layers_win_over_priority() -> None:
    made = classifier(
        own("now", Layer.EMERGENCY, category="network", contains="user unknown"),
        own(contains="user unknown", category="policy", priority=999),
    )
    assert made.classify(Reply(GONE, 550, "5.1.1")).matched[:2] == ("now", "ours")


def test_only_live_rules_switch_off_a_shipped_rule() -> None:
    reply = Reply("550 5.1.1 lalala", 550, "5.1.1")
    assert classifier(switch("off", "unknown-user-code")).classify(reply).rule != "unknown-user-code"
    for state in (State.SHADOW, State.DRAFT):
        assert classifier(switch("off", "unknown-user-code", state=state)).classify(reply).rule == "unknown-user-code"


def test_only_rules_in_lower_layers_can_be_switched_off() -> None:
    entries = [own(), own("twin"), switch("off", "twin", "nobody"), switch("now", "ours", layer=Layer.EMERGENCY)]
    assert switched_off(entries) == {"ours": "now", "nobody": "off"}
    assert [problem.detail for _, listed in problems_of(SHIPPED, entries) for problem in listed] == [
        "twin is in no layer below; retire it instead",
        "there is no rule nobody to switch off",
    ]


def test_an_id_shipped_later_remains_the_organisations() -> None:
    made = classifier(own("unknown-user-code", category="policy", contains="lalala"))
    verdict = made.classify(Reply("550 5.1.1 lalala", 550, "5.1.1"))
    assert (verdict.rule, verdict.category) == ("unknown-user-code", "policy")


def test_rules_that_this_version_cannot_read_are_skipped_and_reported() -> None:
    made = assemble(SHIPPED, [own(contains="{words_of_before} gone"), own("fine")])
    assert (list(made.problems), [rule.id for rule in made.rules.rules if rule.layer]) == (["ours"], ["fine"])


async def test_a_pattern_the_engine_rejects_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def refusing(rules: RuleSet, *_: Any) -> Any:
        if b" strange " in rules.patterns:
            raise UnfitPattern(b" strange ", "not supported here")
        return backtracking.ReScan(rules.patterns)

    monkeypatch.setattr("services.bounce.adapters.rulebook.compiled_beside", refusing)
    book = PublishedRulebook(tmp_path, None, None, "off")  # type: ignore[arg-type]  # neither is asked
    book._ready = shipped_rules()
    made = book._made_of_fit([own("bad", regex=" strange ", contains=[]), own("fine")])
    assert [rule.id for rule in made.rules.rules if rule.layer] == ["fine"]


def test_five_thousand_rules_are_accepted_and_matched() -> None:
    entries = [own(f"rule-{n}", contains=f"w{n % 70} x{n // 70}") for n in range(MOST_RULES)]
    assert problems_of(SHIPPED, entries) == []
    made = classifier(*entries)
    for n in (0, 69, 70, 4_999):
        assert made.classify(Reply(f"550 5.1.1 w{n % 70} x{n // 70}")).rule == f"rule-{n}"
    assert "more than 5000 rules" in str(problems_of(SHIPPED, [*entries, own("too-many")]))


def test_too_many_patterns_are_refused() -> None:
    phrases = [f"a{n} * b * c * d" for n in range(200)]  # 8 patterns each
    found = str(problems_of(SHIPPED, [own(f"rule-{n}", contains=[f"{p} {n}" for p in phrases]) for n in range(17)]))
    assert "patterns in all" in found


def test_examples_show_what_is_lost_and_what_is_gained() -> None:
    base = shipped_rules()
    shadow = own("looks", state=State.SHADOW, contains="user unknown", examples=[GONE, "something else"])
    made = classifier(own(contains="user unknown", examples=[GONE, "mailbox full"]), shadow)
    assert [(lost.rule, lost.number, lost.now.category) for lost in own_lost(made)] == [
        ("ours", 1, "mailbox-full"),
        ("looks", 1, "undetermined"),
    ]
    found = taken(SHIPPED.rules, made, base)
    assert found
    assert {lost.now.rule for lost in found} == {"ours"}
    assert all(lost.before and lost.before.rule == lost.rule for lost in found)
    (rule,) = [rule for rule in made.rules.rules if rule.id == "looks"]
    assert len(lost_of(rule, made)) == 1


def judged(category: str, rule: str | None, text: str | None = GONE) -> dict[str, Any]:
    said = {
        "text": text,
        "reply_code": 550,
        "enhanced_code": "5.1.1",
        "provider": "",
        "origin": "session",
        "stage": None,
    }
    return said | {"category": category, "rule": rule, "rule_set": "a", "permanent": True, "vendor_category": None}


@pytest.mark.parametrize(
    ("fact", "effect"),
    [
        (judged("unknown-user", "wrong", "550 5.1.1 mailbox full, over quota"), True),
        (judged("unknown-user", "wrong"), False),  # the shipped rules agree
        (judged("unknown-user", "unknown-user-code"), False),  # unchanged
        (judged("unknown-user", "wrong", None), True),  # erased: it cannot be classified again
        (judged("unknown-user", "unknown-user-code", None), False),
        (judged("undetermined", None, "lalala"), False),
    ],
)
def test_an_effect_is_what_the_other_set_would_not_have_done(fact: dict[str, Any], effect: bool) -> None:
    here = classifier(own("wrong", category="unknown-user", contains=["over quota", "user unknown"]))
    there = shipped_rules()
    differs = difference(here.rules, there.rules)
    assert differs == (frozenset({"wrong"}), frozenset())
    assert is_effect(fact, there, differs) is effect


def test_notes_examples_and_shadow_rules_make_no_difference() -> None:
    noted = classifier(own(note="why", examples=["house rule"]), own("looks", state=State.SHADOW))
    assert not difference(noted.rules, classifier(own()).rules)
    turned = difference(classifier(own(state=State.SHADOW)).rules, classifier(own()).rules)
    assert turned == (frozenset(), frozenset({"ours"}))


def test_a_redacted_address_still_matches_a_rules_address() -> None:
    here = shipped_rules()
    there = classifier(own("guard", category="policy", contains="kim@x.example is in the blue list"))
    fact = judged("unknown-user", "unknown-user-code", "550 5.1.1 <address> is in the blue list")
    assert is_effect(fact, there, difference(here.rules, there.rules))
