"""Every shipped rule wins each of its own examples, so a rule that breaks another is found."""

from collections.abc import Mapping
from typing import Any

import pytest

from services.bounce.adapters.shipped_rules import shipped, shipped_parts
from services.bounce.domain.facts import of_text
from services.bounce.domain.reports import codes_in
from services.bounce.domain.rules.ruleset import Reply
from tests.compiled import compiled_rules as rules

RULES = shipped_parts().rules
EXAMPLES = [(rule, example) for rule in RULES for example in rule.examples]


def reply_of(example: Mapping[str, Any]) -> Reply:
    code, enhanced = codes_in(example["text"])
    return Reply(
        example["text"],
        example.get("reply", code),
        example.get("enhanced", enhanced),
        example.get("provider"),
        example.get("source", "text"),
        example.get("stage"),
    )


def test_every_rule_has_an_example() -> None:
    assert len(RULES) > 300
    assert [rule.id for rule in RULES if not rule.examples] == []


def test_a_rule_wins_its_own_examples() -> None:
    lost = [
        (rule.id, example["text"], verdict.rule, verdict.category, verdict.matched)
        for rule, example in EXAMPLES
        if (verdict := rules().classify(reply_of(example)))
        and (verdict.rule, verdict.category) != (rule.id, rule.category)
    ]
    assert lost == []


def test_rules_name_only_known_providers() -> None:
    known = set(shipped()[1].hosts.values())
    assert {provider for rule in RULES for provider in rule.providers} <= known


def test_a_verdict_explains_itself() -> None:
    fact = of_text("550 5.7.1 <kim@x.example>: Relay access denied, blocked by policy", rules())
    assert fact.rule == "relay-words"
    assert fact.matched[0] == "relay-words"
    assert "policy-words" in fact.matched
    assert 0.5 < fact.confidence < 1
    assert fact.rule_set == rules().rules.digest


def test_an_unmatched_reply_is_undetermined_and_says_so() -> None:
    fact = of_text("550 lalala", rules())
    assert (fact.category, fact.rule, fact.matched, fact.confidence) == ("undetermined", None, (), 0.0)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("gmail-smtp-in.l.google.com", "gmail"),
        ("x-example.mail.protection.outlook.com.", "microsoft"),
        ("mx.x.example", None),
        ("", None),
        (None, None),
    ],
)
def test_a_provider_is_recognised_by_its_hosts(host: str | None, provider: str | None) -> None:
    assert shipped()[1].of_host(host) == provider


def test_a_provider_is_recognised_by_its_own_domains_only() -> None:
    providers = shipped()[1]
    assert providers.of_address("kim@GMX.de") == "united-internet"
    assert providers.of_address("kim@fake-gmx.de") is None
