"""The model answers where no rule does, only when it is certain, and is trained reproducibly from reviewed replies."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from services.bounce.adapters.engines import compiled
from services.bounce.adapters.model_file import (
    SHIPPED,
    BadModel,
    examples_in,
    load_model,
    model_of,
    save_model,
    shipped_examples,
)
from services.bounce.adapters.shipped_rules import shipped_parts
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import of_text
from services.bounce.domain.learning import Example, made_of, train
from services.bounce.domain.model import Model
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.assembling import assemble
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import Reply, RuleSet
from tests.compiled import compiled_rules as rules

GONE = ["nobody lives here", "nobody of that name", "there is nobody here", "nobody, sadly", "nobody at home here"]
FULL = ["the cupboard is stuffed", "stuffed to the brim", "a stuffed cupboard", "stuffed, sorry", "it is stuffed now"]


def examples() -> list[Example]:
    told = [(text, "unknown-user") for text in GONE] + [(text, "mailbox-full") for text in FULL]
    return [Example(Reply(f"550 {text} {n}", 550), category) for text, category in told for n in "abc"]


@pytest.fixture(scope="module")
def small() -> Model:
    return train(examples())[0]


def asked(model: Model | None) -> Classifier:
    """A classifier without rules."""
    none = RuleSet(())
    return Classifier(none, compiled(none), Providers({}, {}), model)


def test_training_is_independent_of_the_order_of_replies(tmp_path: Path, small: Model) -> None:
    shuffled = examples() * 2
    random.Random(3).shuffle(shuffled)
    first, second = save_model(small, tmp_path / "a"), save_model(train(shuffled)[0], tmp_path / "b")
    assert first == second
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_round_trips_through_a_file(tmp_path: Path, small: Model) -> None:
    digest = save_model(small, tmp_path / "small.model")
    loaded = load_model(tmp_path / "small.model")
    replies = [Reply("550 the cupboard was stuffed", 550), Reply("550 nobody", 550)]
    assert loaded.digest == digest
    assert loaded.predict(replies) == small.predict(replies)
    assert [guess.category for guess in loaded.predict(replies)] == ["mailbox-full", "unknown-user"]


def test_the_verdict_names_the_model_as_its_source(tmp_path: Path, small: Model) -> None:
    digest = save_model(small, tmp_path / "small.model")
    fact = of_text("550 stuffed, the cupboard", asked(load_model(tmp_path / "small.model")))
    assert (fact.category, fact.rule, fact.rule_set) == ("mailbox-full", None, f"model:{digest}")
    assert small.thresholds["mailbox-full"] <= fact.confidence <= 1


def test_replies_the_model_is_unsure_of_stay_undetermined(small: Model) -> None:
    assert of_text("550 zzz", asked(small)).category == "undetermined"
    careful = Model(small.categories, small.weights, small.scales, small.temperature, {}, "x")
    assert of_text("550 the cupboard is stuffed", asked(careful)).category == "undetermined"


def sure_of_viruses() -> Model:
    return Model(("virus", "policy"), np.ones((1 << 14, 2), np.int8), np.array([1.0, 0.0]), 1.0, {"virus": 0.0}, "x")


def test_a_rule_wins_over_the_model() -> None:
    known = rules()
    classifier = Classifier(known.rules, known.scan, known.providers, sure_of_viruses())
    assert of_text("550 5.1.1 User unknown", classifier).category == "unknown-user"
    assert of_text("550 lalala", classifier).category == "virus"


@pytest.mark.parametrize(
    ("text", "category", "rule"),
    [
        ("550 5.7.1 W97M was seen in one of the parts that you sent", "virus", None),
        ("554 W97M was seen in one of the parts that you sent", "virus", None),
        ("550 5.7.1 W97M", "policy", "policy-code"),  # hardly a word
        ("451 W97M was seen in one of the parts that you sent", "system-error", "system-reply"),
        ("550 5.7.1 W97M was seen, and our site policy forbids it", "policy", "policy-strong"),
    ],
)
def test_the_model_may_name_what_a_code_alone_calls_policy(text: str, category: str, rule: str | None) -> None:
    known = rules()
    fact = of_text(text, Classifier(known.rules, known.scan, known.providers, sure_of_viruses()))
    assert (fact.category, fact.rule) == (category, rule)


def test_a_code_that_people_made_a_rule_of_is_theirs() -> None:
    document = {"category": "policy", "enhanced": "5.7.1"}
    made = assemble(shipped_parts(), [Published("ours", Layer.ORGANISATION, State.LIVE, 1, document)])
    own = Classifier(made.rules, lambda words: [], rules().providers, sure_of_viruses())
    fact = of_text("550 5.7.1 W97M was seen in one of the parts that you sent", own)
    assert (fact.category, fact.rule) == ("policy", "ours")


def test_a_higher_precision_answers_fewer_but_more_accurately() -> None:
    mixed = [*examples(), *(Example(Reply(f"550 nobody and nothing {n}", 550), "policy") for n in range(9))]
    lenient, strict = train(mixed, precision=0.5)[1], train(mixed, precision=0.99)[1]
    assert lenient.answered >= strict.answered
    assert strict.accuracy_answered >= 0.99 or not strict.answered


def test_the_shipped_model_covers_the_repositorys_categories() -> None:
    model = load_model(SHIPPED)
    assert set(model.categories) == {example.category for example in shipped_examples()}
    assert model.thresholds["unknown-user"] > 0.5


def test_the_shipped_model_is_up_to_date() -> None:
    """After changing a rule's example or a reply, train it again, which takes half a minute:
    depesche bounce train --out services/bounce/shipped_model/bounces.model"""
    assert load_model(SHIPPED).made_of == made_of(shipped_examples())


@pytest.mark.parametrize("change", ["a reply more", "another category", "another precision", "one that would do too"])
def test_every_training_input_changes_the_models_fingerprint(change: str) -> None:
    told, precision = examples(), 0.95
    assert made_of(told[::-1] * 2) == made_of(told)
    if change == "a reply more":
        told.append(Example(Reply("550 nobody at all"), "unknown-user"))
    elif change == "another precision":
        precision = 0.9
    else:
        category, also = ("inactive", ()) if change == "another category" else ("unknown-user", ("inactive",))
        told[0] = Example(told[0].reply, category, also)
    assert made_of(told, precision=precision) != made_of(examples())


def test_the_model_can_be_disabled() -> None:
    assert model_of("off") is None
    assert of_text("550 stuffed", asked(model_of("off"))).category == "undetermined"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]\n", b"rubbish\n\x00", b'{"form": 2, "buckets": 16384}\n', SHIPPED.read_bytes()[:-5]],
    ids=["empty", "no newline", "a list", "rubbish", "newer", "cut short"],
)
def test_an_invalid_model_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.model").write_bytes(content)
    with pytest.raises(BadModel, match=r"x\.model"):
        load_model(tmp_path / "x.model")


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.jsonl", '{"text": "550 no", "category": "made-up"}', "a.jsonl:1"),
        ("a.jsonl", '{"category": "virus"}', "a.jsonl:1"),
        ("a.jsonl", "[1]", "a.jsonl:1"),
        ("a.jsonl", "{", "a.jsonl"),
        ("a.csv", "text,category,reply\n550 no,virus,five", "a.csv:2"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, name: str, content: str | None, where: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadModel, match=where):
        list(examples_in(tmp_path / name))


def test_replies_may_be_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,category,also\n"550 5.2.2 no, full",mailbox-full,throttled policy\n')
    (found,) = examples_in(tmp_path / "a.csv")
    assert found == Example(Reply("550 5.2.2 no, full", 550, "5.2.2"), "mailbox-full", ("throttled", "policy"))


def test_a_malformed_file_ends_the_command_with_its_location(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "550 no", "category": "nothing"}))
    ended = CliRunner().invoke(
        app, ["bounce", "train", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "m.model"), "--json"]
    )
    assert ended.exit_code == 2
    assert "a.jsonl:1" in ended.output
    assert not (tmp_path / "m.model").exists()
