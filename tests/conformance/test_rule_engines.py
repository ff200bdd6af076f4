"""Both engines find the same patterns in the same texts, so a platform without Hyperscan judges no differently."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bounce.adapters.engines import backtracking
from services.bounce.adapters.engines.hyperscan import HyperscanScan
from services.bounce.adapters.shipped_rules import shipped
from services.bounce.domain.rules.patterns import of_expression, of_phrase
from services.bounce.domain.rules.wording import comparable

RULES, _ = shipped()
EXAMPLES = [comparable(example["text"]) for rule in RULES.rules for example in rule.examples]
RE = backtracking.ReScan(RULES.patterns)
FRAGMENTS = sorted({word for text in EXAMPLES for word in text.split()})


@pytest.fixture(scope="module")
def hyperscan() -> HyperscanScan:
    from services.bounce.adapters.engines import compiled

    scan = compiled(RULES)
    assert isinstance(scan, HyperscanScan)
    return scan


def test_every_example_is_seen_alike(hyperscan: HyperscanScan) -> None:
    for text in EXAMPLES:
        assert sorted(hyperscan(text)) == RE(text), text


@settings(max_examples=150, deadline=None)
@given(words=st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_texts_made_of_the_same_words_are_seen_alike(hyperscan: HyperscanScan, words: list[bytes]) -> None:
    text = b" " + b" ".join(words) + b" "
    assert sorted(hyperscan(text)) == RE(text)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_is_seen_alike(hyperscan: HyperscanScan, text: str) -> None:
    seen = comparable(text)
    assert sorted(hyperscan(seen)) == RE(seen)


@pytest.mark.parametrize(
    "text", [b"", b" ", b"\x00" * 50, b"\xff\xfe" * 50, b" mailbox " * 200, b" user" * 400, b" no" * 600]
)
def test_rubbish_is_seen_alike(hyperscan: HyperscanScan, text: bytes) -> None:
    assert sorted(hyperscan(text)) == RE(text)


def test_threads_do_not_disturb_each_other(hyperscan: HyperscanScan) -> None:
    expected = [RE(text) for text in EXAMPLES]
    wrong: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(t for t, want in zip(EXAMPLES, expected, strict=True) if sorted(hyperscan(t)) != want)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


PATTERNS = (*of_phrase("mailbox * full", {}), of_expression(" over [a-z]{1,10} quota "))


def test_a_kept_database_is_used_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    text = b" mailbox is full "
    first = HyperscanScan(PATTERNS, "d1", tmp_path)
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    assert first(text) == HyperscanScan(PATTERNS, "d1", tmp_path)(text) == [1]
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:100])
    assert HyperscanScan(PATTERNS, "d1", tmp_path)(text) == [1]
    assert len(kept.read_bytes()) > 100
    assert list(tmp_path.iterdir()) == [kept]


def test_an_empty_rule_set_finds_nothing(tmp_path: Path) -> None:
    assert HyperscanScan((), "d0", tmp_path)(b" anything ") == []
