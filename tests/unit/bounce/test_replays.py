"""Replaying the policy: the resulting state of an address, and the differences between two sides."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.outcomes import Scope
from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.api.replay_shapes import PolicyNumbers
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.policy import Contact, Policy
from services.bounce.domain.providers import Providers
from services.bounce.domain.replays import Replay, Side, Told
from services.bounce.domain.rereading import Read, read_again
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import RuleSet, rules_of
from services.bounce.handlers.numbers import policy_of
from services.bounce.settings import BounceSettings

NOW = datetime(2027, 3, 1, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
GONE = "550 5.1.1 no such account <address>"
numbers = itertools.count(1)
UNKNOWN: dict[str, Any] = {"id": "unknown", "category": "unknown-user", "contains": ["no such account"]}
LISTS: dict[str, Any] = {"id": "lists", "category": "policy", "contains": ["account list"], "priority": 350}


def rules(*documents: dict[str, Any]) -> Classifier:
    made = RuleSet(tuple(rules_of(documents, Layer.SHIPPED, {})))
    return Classifier(made, ReScan(made.patterns), Providers({}, {}))


IN_FORCE = rules(UNKNOWN)
TRUSTING = Policy(trusted_providers=frozenset({"*"}))


def fact(at: datetime = NOW, text: str | None = GONE, **more: Any) -> dict[str, Any]:
    made = {
        "id": UUID(int=next(numbers)), "at": at, "category": "unknown-user", "permanent": True, "provider": "gmail",
        "domain": None, "origin": "session", "text": text, "reply_code": 550, "enhanced_code": "5.1.1", "stage": None,
        "vendor_category": None, "rule": "unknown", "rule_set": IN_FORCE.rules.digest, "doubtful": False,
    }  # fmt: skip
    return made | more


def told(*facts: dict[str, Any], **known: Any) -> Told:
    given = {"contact": None, "lifted": {}, "dead_domains": frozenset()} | known
    return Told(b"a", facts, **given)


def replay(after: Classifier = IN_FORCE, policy: Policy = TRUSTING, before: Policy = TRUSTING) -> Replay:
    return Replay(Side(IN_FORCE, before), Side(after, policy), NOW - 30 * DAY)


def test_identical_sides_do_not_differ() -> None:
    played = replay()
    assert played.take([told(fact()), told(fact())]) == []
    assert (played.facts, played.addresses, played.sums[0].barred_all, played.sums[1].barred_all) == (2, 2, 2, 2)


def test_a_rule_that_recategorises_a_reply_releases_its_address() -> None:
    played = replay(rules(UNKNOWN, LISTS))
    (change,) = played.take([told(fact(text="550 no such account list")), told(fact())])
    assert (change.appears, change.scope, change.was["policy"]) == (False, Scope.ALL, "trusted-provider")
    assert (change.was["category"], change.becomes) == (
        "unknown-user",
        {"category": "policy", "rule": "lists", "policy": None},
    )
    assert (played.sums[0].barred_all, played.sums[1].barred_all, played.vanish) == (2, 1, 1)
    assert [(move.was.rule, move.becomes.rule, count) for move, (count, _) in played.moves.items()] == [
        ("unknown", "lists", 1)
    ]
    assert played.categories[1] == {("policy", "gmail"): 1, ("unknown-user", "gmail"): 1}


def test_a_rule_that_finds_a_dead_mailbox_suppresses_its_address() -> None:
    found = rules(UNKNOWN, {"id": "left", "category": "inactive", "contains": ["has left us"]})
    unread = fact(text="550 has left us", category="undetermined", rule=None)
    (change,) = replay(found).take([told(unread)])
    assert (change.appears, change.becomes["category"], change.becomes["policy"]) == (
        True,
        "inactive",
        "trusted-provider",
    )


def test_other_thresholds_suppress_other_addresses() -> None:
    full = [
        fact(NOW - n * DAY, "452 full", category="mailbox-full", rule=None, rule_set="shipped", permanent=False)
        for n in (2, 1)
    ]
    assert replay(policy=TRUSTING).take([told(*full)]) == []
    (change,) = replay(policy=Policy(trusted_providers=frozenset({"*"}), score_days=2)).take([told(*full)])
    assert (change.appears, change.scope, change.bounce) == (True, Scope.MARKETING, full[1]["id"])


def test_second_proofs_and_signs_of_life_count_as_before() -> None:
    careful = Policy()
    twice = told(fact(NOW - 2 * DAY), fact(NOW))
    once = told(fact(NOW))
    alive = told(fact(NOW), contact=Contact(date(2027, 2, 20), 1, date(2027, 2, 20)))
    played = replay(policy=careful)
    changes = played.take([twice, once, alive])
    assert [(change.appears, change.bounce) for change in changes] == [(False, once.facts[0]["id"])]
    assert (played.sums[0].barred_all, played.sums[1].barred_all) == (2, 1)


def test_earlier_facts_are_context_and_decide_nothing() -> None:
    old = told(fact(NOW - 40 * DAY))
    played = replay()
    played.take([old, told(fact(NOW - 31 * DAY), fact(NOW - 29 * DAY))])
    assert (played.facts, played.sums[0].barred_all) == (1, 1)
    careful = replay(before=Policy(), policy=Policy())
    careful.take([told(fact(NOW - 31 * DAY), fact(NOW - 29 * DAY))])
    assert careful.sums[0].barred_all == 1


@pytest.mark.parametrize(
    ("known", "more", "sums"),
    [
        ({}, {"doubtful": True}, (0, 1)),
        ({"lifted": {Scope.ALL: NOW + DAY}}, {}, (0, 0)),
        ({"lifted": {Scope.ALL: NOW - DAY}}, {}, (1, 0)),
        ({"lifted": {Scope.MARKETING: NOW + DAY}}, {}, (1, 0)),
    ],
)
def test_uncertain_facts_and_lifts_are_replayed(
    known: dict[str, Any], more: dict[str, Any], sums: tuple[int, int]
) -> None:
    played = replay()
    played.take([told(fact(**more), **known)])
    assert (played.sums[0].barred_all, played.sums[0].parked) == sums


@pytest.mark.parametrize(("dead", "barred"), [(frozenset({"gone.example"}), 1), (frozenset(), 0)])
def test_the_last_dns_result_decides_about_a_domain(dead: frozenset[str], barred: int) -> None:
    played = replay()
    said = fact(text="550 no domain", category="bad-domain", domain="gone.example", rule_set="shipped", rule=None)
    played.take([told(said, dead_domains=dead)])
    assert played.sums[0].barred_all == barred


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (fact(), Read("unknown-user", "unknown")),
        (fact(text="550 something else"), Read("undetermined", None)),
        (fact(text="550 something else", vendor_category="inactive"), Read("inactive", None)),
        (fact(text="450 something else", origin="mail", permanent=False), Read("expired", None)),
        (fact(text="odd", category="moved", rule=None), Read("moved", None)),
        (fact(text=None), Read("unknown-user", "unknown")),
        (fact(category="complaint", rule=None, rule_set="shipped"), Read("complaint", None)),
    ],
)
def test_a_stored_fact_is_classified_again(stored: dict[str, Any], read: Read) -> None:
    assert read_again(stored, IN_FORCE) == read


def test_a_redacted_address_still_matches_an_address() -> None:
    at = rules({"id": "at", "category": "moved", "contains": ["<a@b.example> has moved"]})
    assert read_again(fact(text="551 <address> has moved"), at) == Read("moved", "at")


def test_a_truncated_text_keeps_its_original_verdict() -> None:
    cut = fact(text="550 the end is missi", category="moved", rule="by-the-end")
    assert replay(rules(UNKNOWN, LISTS)).take([told(cut)]) == []


def test_a_test_mailbox_with_thousands_of_facts_is_replayed() -> None:
    many = [fact(NOW - DAY * 20 + timedelta(minutes=n)) for n in range(3_000)]
    played = replay(policy=Policy())
    played.take([told(*many)])
    assert played.facts == 3_000


def test_replay_parameters_match_the_settings() -> None:
    shape = PolicyNumbers.model_json_schema()["properties"]
    known = BounceSettings.model_json_schema()["properties"]
    limits = ("minimum", "maximum", "exclusiveMinimum")
    for name in shape.keys() - {"trusted_providers"}:
        given = shape[name]["anyOf"][0]
        assert {key: given.get(key) for key in limits} == {key: known[name].get(key) for key in limits}, name
    changed = {name: policy_of(BounceSettings(), {name: 7}) for name in shape if name != "trusted_providers"}
    assert all(policy != policy_of(BounceSettings()) for policy in changed.values())
    assert policy_of(BounceSettings(), {"trusted_providers": ["gmail"]}).trusted_providers == {"gmail"}
