"""Two replies with one skeleton match the same patterns, so a verdict can be cached by skeleton."""

import random
import re

import pytest

from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules import wording
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import Reply, RuleSet, rules_of
from services.bounce.domain.rules.skeleton import Skeletons
from services.bounce.domain.rules.wording import comparable, folded
from services.bounce.domain.status import codes_in
from tests.compiled import compiled_rules as rules

# few letters, so that patterns and words often match
_LETTERS = "ab01"
_ATOMS = (
    *(
        "a",
        "b",
        "0",
        "1",
        " ",
        "  ",
        "=",
        "é",
        "ab",
        "a0",
        " a",
        "b ",
        " 1",
        " a1b0",
        "01 ",
        "^ a",
        " b$",
        r"\ ",
        r"\d",
    ),
    *("[01]", "[ab]", "[a-z0-9]", "[0-9]", "[a-z]", r"\w", r"\s", "[^a]", "[^ ]", "[01]{2,3}", "[a-z0-9]{0,20}", "."),
    *(
        "[0-9]{1,3} ",
        ".{0,6}",
        " .{0,60} ",
        "a?",
        "(?:a|b0)",
        "(?:a|b )?",
        "[01]?",
        "[ab]{0,2}",
        "(?:[01] ){2}",
        "(?:ab|a1){1,2}",
        "0{2}",
    ),
)


def _id(draw: random.Random, length: int) -> str:
    return "".join(draw.choice(_LETTERS) for _ in range(length))


def _patterns(draw: random.Random) -> list[bytes]:
    made = {"".join(draw.choice(_ATOMS) for _ in range(draw.randint(1, 5))).encode() for _ in range(draw.randint(1, 3))}
    return sorted(pattern for pattern in made if not re.fullmatch(pattern, b""))


def _pair(draw: random.Random) -> tuple[bytes, bytes]:
    """Two texts that differ only in their longer words."""
    lengths = [draw.choice((1, 2, 6, 7, 8, 12)) for _ in range(draw.randint(1, 3))]
    first = [_id(draw, length) for length in lengths]
    second = [word if len(word) < 6 else _id(draw, len(word)) for word in first]
    return f" {' '.join(first)} ".encode(), f" {' '.join(second)} ".encode()


def test_texts_with_one_skeleton_match_the_same_patterns() -> None:
    draw = random.Random(5)
    alike = apart = 0
    for _ in range(6_000):
        patterns = _patterns(draw)
        skeletons = Skeletons(patterns)
        for _ in range(8):
            one, other = _pair(draw)
            matches = [[bool(re.search(pattern, text)) for pattern in patterns] for text in (one, other)]
            if skeletons.of(one) == skeletons.of(other) and one != other:
                alike += 1
                assert matches[0] == matches[1], (patterns, one, other)
            else:
                apart += matches[0] != matches[1]
    assert alike > 1_000  # something is masked
    assert apart > 1_000  # and masking too much would be noticed


@pytest.mark.parametrize(
    ("pattern", "text", "seen"),
    [
        (b" user unknown ", "user unknown 4f0zk8s2", False),
        (b" error 4f0zk8s2 ", "error 4f0zk8s2", True),
        (b" error 4f0zk8s2 ", "error 4f0zk8s3", False),
        (b" as160", "access denied as1601260", True),
        (b" as160", "access denied as1701260", False),
        (b"[0-9]{8} ", "4 12345678", None),  # may occur anywhere in a word: nothing is masked
        (b" [0-9]{1,3} ", "12345678", False),
        (b" [0-9]{1,8} ", "12345678", None),
        (b"zk8", "id 4f0zk8s2", True),
        (b" [a-z]{2,12} full ", "box 4f0zk8s2 full", False),
        (b" (?:a|4f)0zk", "4f0zk8s2", True),
    ],
)
def test_an_id_that_a_pattern_reads_is_not_masked(pattern: bytes, text: str, seen: bool | None) -> None:
    words = comparable(text)
    skeletons = Skeletons([pattern])
    assert skeletons.blots is (seen is not None)
    assert (skeletons.of(words) == words) is (seen is not False)
    assert len(skeletons.of(words)) == len(words)  # gaps are counted in bytes


def test_masking_ids_does_not_change_the_shipped_rules_matches() -> None:
    draw = random.Random(6)
    classifier = rules()
    assert classifier.rules.skeletons.blots
    alike = 0
    for rule in classifier.rules.rules:
        for example in rule.examples:
            one, other = (comparable(f"{example['text']} {_hexadecimal(draw)}") for _ in range(2))
            if classifier.rules.skeletons.of(one) == classifier.rules.skeletons.of(other):
                alike += 1
                assert sorted(classifier.scan(one)) == sorted(classifier.scan(other))
    assert alike > 100


def test_texts_that_fold_alike_have_one_skeleton() -> None:
    draw = random.Random(8)
    pieces = (
        "550",
        "-",
        "5.1.1",
        " ",
        "\n",
        "User",
        "x",
        "a@b.c",
        "...",
        "'",
        "é",
        "=",
        "4FzK8s2M",
        "9Fzk8S2m",
        "[",
        "]:",
    )
    skeletons = Skeletons([b" user ", b" 9fzk* "])
    seen: dict[bytes, bytes] = {}
    for _ in range(20_000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 6)))
        words = comparable(text)
        assert seen.setdefault(skeletons.of(folded(text)), skeletons.of(words)) == skeletons.of(words), text
    assert len(set(seen.values())) < len(seen)


def _hexadecimal(draw: random.Random) -> str:
    return f"{draw.getrandbits(40):010x}"


def test_the_verdict_cache_changes_no_verdict_and_stays_small() -> None:
    documents = [
        {"id": "gone", "category": "unknown-user", "contains": ["no such user", "user * gone"]},
        {"id": "coded", "category": "policy", "contains": ["as160*"]},
    ]
    made = RuleSet(tuple(rules_of(documents, Layer.SHIPPED, {})))
    scan = ReScan(made.patterns)
    remembering, forgetting, small = (
        Classifier(made, scan, Providers({}, {}), remembered=most) for most in (100, 0, 2)
    )
    texts = ["550 no such user", "550 5.1.1 user 4fzk8s2m is gone", "550 denied AS1601260", "550 denied AS9901260"]
    replies = [Reply(f"{text} {n:x}0a1b2c3d", 550) for n in range(20) for text in texts]
    for reply in replies:
        assert remembering.classify(reply) == forgetting.classify(reply) == small.classify(reply)
    assert len(remembering._remembered) < len(texts) * 4
    assert len(small._remembered) <= 2
    assert not forgetting._remembered


def test_addresses_are_found_as_the_expression_finds_them() -> None:
    draw = random.Random(7)
    signs = ["@", "a", "b.c", " ", "<", ">", ":", ",", "x" * 200, "x" * 300, "\n", "é", "[", ")", '"']
    for _ in range(20_000):
        text = "".join(draw.choice(signs) for _ in range(draw.randint(1, 8))).encode()
        if b"@" in text:
            assert wording._without_address(text) == wording._ADDRESS.sub(b"@", text), text


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("550 5.1.1", (550, "5.1.1")),
        ("550-5.123.123 x", (550, "5.123.123")),
        ("550 #5.123.123:x", (550, "5.123.123")),
        ("550 5.1.1.2 no", (550, None)),
    ],
)
def test_codes_at_the_beginning_are_read(text: str, codes: tuple[int, str | None]) -> None:
    assert codes_in(text) == codes
