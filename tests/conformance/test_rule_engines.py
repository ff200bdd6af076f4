"""Both engines find the same patterns in the same texts, so a platform without Hyperscan classifies identically."""

import os
import random
import re
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.bounce.adapters.engines import backtracking, compiled, compiled_beside
from services.bounce.adapters.engines.composite import CompositeScan
from services.bounce.adapters.engines.gaps import INSIDE, pieces_of, planned
from services.bounce.adapters.engines.hyperscan import HyperscanScan
from services.bounce.adapters.shipped_rules import shipped, shipped_parts
from services.bounce.domain.rules.assembling import assemble
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.patterns import BadPattern, of_expression, of_phrase
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import Scan
from services.bounce.domain.rules.wording import comparable
from services.bounce.ports.rules import UnfitPattern

RULES, _ = shipped()
EXAMPLES = [comparable(example["text"]) for rule in RULES.rules for example in rule.examples]
FRAGMENTS = sorted({word for text in EXAMPLES for word in text.split()})


@cache
def by_re() -> Scan:
    """Compiled when first asked for: it takes seconds, and every test process imports this file."""
    return backtracking.ReScan(RULES.patterns)


@pytest.fixture(scope="module")
def hyperscan() -> HyperscanScan:
    scan = compiled(RULES)
    assert isinstance(scan, HyperscanScan)
    return scan


def test_every_example_matches_identically(hyperscan: HyperscanScan) -> None:
    for text in EXAMPLES:
        assert sorted(hyperscan(text)) == by_re()(text), text


def gapped(count: int) -> tuple[bytes, ...]:
    """Patterns of phrases with gaps, of words that occur in replies, and of expressions that resemble them."""
    drawn = random.Random(7)
    words = [word.decode() for word in FRAGMENTS if word.isalpha() and word.isascii()]
    phrases = [" * ".join(" ".join(drawn.choices(words, k=2)) for _ in range(2 + n % 2)) for n in range(count)]
    named = [f"{{these}} * {drawn.choice(words)} {drawn.choice(words)}*" for _ in range(count // 10)]
    odd = [
        " no .{0,60} mailbox | is .{0,60} full ",
        "(?: user .{0,60} )unknown ",
        r" 5 \d .{0,60} user ",
        " a[ .{0,60} ]b",
    ]
    found = [one for phrase in (*phrases, *named) for one in of_phrase(phrase, {"these": words[:5]})]
    return tuple(dict.fromkeys([*found, *map(of_expression, odd)]))


GAPPED = gapped(600)


@cache
def gapped_by_re() -> Scan:
    return backtracking.ReScan(GAPPED)


def text_with(number: int) -> bytes:
    """A text that matches the pattern, or almost: its pieces, with more or less between them."""
    pieces = [re.sub(rb"\\(.)|\(\?:|\)|\[a-z0-9\]\{0,20\}|\|.*", rb"\1", piece) for piece in pieces_of(GAPPED[number])]
    between = b"".join(b"x" for _ in range(number % 70))
    return b" " + (b" " + between + b" ").join(piece.strip() for piece in pieces) + b" "


@pytest.fixture(scope="module")
def with_gaps() -> HyperscanScan:
    return HyperscanScan(GAPPED, "")


def test_many_phrases_with_gaps_match_identically(with_gaps: HyperscanScan) -> None:
    plan = planned(GAPPED)
    assert len(plan.rests) > 100
    matched = set()
    for number in range(len(GAPPED)):
        text = text_with(number)
        assert sorted(with_gaps(text)) == gapped_by_re()(text), text
        matched.update(gapped_by_re()(text))
    assert len(matched) > len(GAPPED) // 2  # they do not agree merely because nothing matches


@settings(max_examples=100)
@given(words=st.lists(st.sampled_from(FRAGMENTS), max_size=40))
def test_texts_of_words_from_gap_phrases_match_identically(with_gaps: HyperscanScan, words: list[bytes]) -> None:
    text = b" " + b" ".join(words) + b" "
    assert sorted(with_gaps(text)) == gapped_by_re()(text)


def test_thousands_of_phrases_with_gaps_compile_in_seconds() -> None:
    patterns = gapped(3_000)
    assert sum(len(pieces_of(one)) > 1 for one in planned(patterns).expressions) == INSIDE
    began = time.process_time()
    HyperscanScan(patterns, "")
    assert time.process_time() - began < 20  # 4 s, on a busy machine 10; unsplit they take half a minute


@settings(max_examples=150)
@given(words=st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_texts_of_the_patterns_words_match_identically(hyperscan: HyperscanScan, words: list[bytes]) -> None:
    text = b" " + b" ".join(words) + b" "
    assert sorted(hyperscan(text)) == by_re()(text)


@settings(max_examples=100)
@given(text=st.text(max_size=300))
def test_any_text_matches_identically(hyperscan: HyperscanScan, text: str) -> None:
    seen = comparable(text)
    assert sorted(hyperscan(seen)) == by_re()(seen)


@pytest.mark.parametrize(
    "text", [b"", b" ", b"\x00" * 50, b"\xff\xfe" * 50, b" mailbox " * 200, b" user" * 400, b" no" * 600]
)
def test_random_bytes_match_identically(hyperscan: HyperscanScan, text: bytes) -> None:
    assert sorted(hyperscan(text)) == by_re()(text)


def test_concurrent_scans_do_not_interfere(hyperscan: HyperscanScan) -> None:
    expected = [by_re()(text) for text in EXAMPLES]
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


def test_a_cached_database_is_reused_and_a_corrupt_one_rebuilt(tmp_path: Path) -> None:
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


def test_an_empty_rule_set_matches_nothing(tmp_path: Path) -> None:
    assert HyperscanScan((), "d0", tmp_path)(b" anything ") == []


# what an organisation writes: phrases with gaps and names, beginnings, expressions, other scripts, codes, switches
OWN: tuple[dict[str, Any], ...] = (
    {"id": "gaps", "category": "policy", "contains": ["house * rule", "{mailbox} * is * asleep", "greylist*"]},
    {"id": "starts", "category": "throttled", "starts": ["421 slow down", "try again*"], "unless": ["never"]},
    {
        "id": "regex",
        "category": "virus",
        "regex": [r" over [0-9]{1,6} (?:kb|mb) ", r"^ 5[0-9]{2} \d \d{1,3} ", r"a?b{2}c"],
    },
    {
        "id": "letters",
        "category": "inactive",
        "contains": ["Empfänger unbekannt", "用户不存在", "adresát * neexistuje"],
    },
    {"id": "bytes", "category": "moved", "regex": [r" caf(?:é|è) ", r"[a-z]{3,9}ß.{0,20}\b"]},
    {"id": "shadow", "category": "network", "contains": "user unknown", "enhanced": "5.1.1"},
    {"id": "off", "switches_off": ["unknown-user-code"]},
)
OWN_WORDS = sorted(
    {
        *FRAGMENTS,
        *comparable(
            "house rule mailbox user is asleep greylisted 421 slow down try again never over 20 kb mb abbc"
        ).split(),
        *comparable("Empfänger unbekannt 用户不存在 adresát neexistuje café cafè 550 5.1.1 straße \xe9 \xdf").split(),
        *(b"caf\xc3", b"\xff", b"\x00", b"5", b"1"),
    }
)


@pytest.fixture(scope="module")
def own() -> dict[str, Scan]:
    """Every engine over the shipped rules plus the organisation's, and their two passes."""
    entries = [
        Published(str(rule["id"]), Layer.ORGANISATION, State.SHADOW if rule["id"] == "shadow" else State.LIVE, 1, rule_)
        for rule in OWN
        if (rule_ := {name: value for name, value in rule.items() if name != "id"})
    ]
    rules, problems, off = assemble(shipped_parts(), entries)
    assert (problems, off) == ({}, {"unknown-user-code": "off"})
    others = tuple(pattern for pattern in rules.patterns if pattern not in RULES.patterns)
    return {
        "re": backtracking.ReScan(rules.patterns),
        "hyperscan": HyperscanScan(rules.patterns, rules.digest),
        "two passes": compiled_beside(rules, (RULES, compiled(RULES))),
        "parts of re": CompositeScan(
            rules.patterns, [(RULES.patterns, by_re()), (others, backtracking.ReScan(others))]
        ),
    }


@settings(max_examples=60)
@given(words=st.lists(st.sampled_from(OWN_WORDS), max_size=25))
def test_an_organisations_rules_match_identically(own: dict[str, Scan], words: list[bytes]) -> None:
    text = b" " + b" ".join(words) + b" "
    found = {name: sorted(scan(text)) for name, scan in own.items()}
    assert all(numbers == found["re"] for numbers in found.values()), (text, found)


def test_examples_match_identically_beside_an_organisations_rules(own: dict[str, Scan]) -> None:
    for text in EXAMPLES:
        found = {name: sorted(scan(text)) for name, scan in own.items()}
        assert all(numbers == found["re"] for numbers in found.values()), text


_SIGNS = (
    r"a b c 0 1 . | ( ) [ ] { } ^ $ \ ? * + - , é ß 用 {1,3} {0,200} {1,99999} a{2,1} +? ?? ++ [[ && [a-z] [^a] [é]"
)
_WORDS = (
    r"(?: (?= (?i) (?<! (?P<n> (?> (?#x) (?P=n) \xe9 \351 \b \d \w \s \S \1 \x00 \u00e9 \Z \A \B \N{DASH} [:alpha:]"
)
_PIECES = st.sampled_from([*_SIGNS.split(), *_WORDS.split(), " "])


def _engine_of(pattern: bytes) -> Scan | str:
    """Compile Hyperscan for the one pattern, or return why it is refused."""
    try:
        return HyperscanScan((pattern,), "hostile")
    except UnfitPattern as error:
        return error.why


def _pattern_of(expression: str) -> bytes | BadPattern:
    try:
        return of_expression(expression)
    except BadPattern as error:
        return error


@settings(max_examples=200)
@given(pieces=st.lists(_PIECES, max_size=12), words=st.lists(st.sampled_from(OWN_WORDS), max_size=12))
def test_an_expression_is_refused_or_matches_identically(pieces: list[str], words: list[bytes]) -> None:
    expression = "".join(pieces)
    pattern = _pattern_of(expression)
    if isinstance(pattern, BadPattern):
        assert pattern.position is None or 0 <= pattern.position <= len(expression)
        return
    scan = _engine_of(pattern)
    if isinstance(scan, str):
        assert scan  # the engine's own message, shown to the author
        return
    text = b" " + b" ".join(words) + b" "
    assert sorted(scan(text)) == backtracking.ReScan((pattern,))(text), (expression, text)


def test_recently_used_databases_are_retained_and_others_deleted(tmp_path: Path) -> None:
    torn = tmp_path / "d.1.part"
    torn.write_bytes(b"half")
    os.utime(torn, (0, 0))
    for number in range(12):
        HyperscanScan(PATTERNS, f"d{number}", tmp_path)
        for age, path in enumerate(sorted(tmp_path.glob("*.hsdb"), key=lambda path: -path.stat().st_atime)):
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
        HyperscanScan(PATTERNS, "d0", tmp_path)  # in use throughout
    kept = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert kept == {"d0", *(f"d{number}" for number in range(5, 12))}
