"""Two replies have the same template if only their variable parts differ."""

import random
import re

import pytest

from services.bounce.domain.templates import MAX_CHARS, template_of


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("550 5.1.1 <kim@x.example>: user unknown", "550 5.1.1 <address>: user unknown"),
        ("550 no [192.0.2.7], id 4FzK8s2M9q", "550 no [<ip>], id <id>"),
        ("550 no [2001:db8::25:1:2]", "550 no [<ip>]"),
        ("421 since 2026-11-26 09:10:11 busy", "421 since <time> busy"),
        ("421 since 2026-11-26T09:10:11Z busy", "421 since <time> busy"),
        ("452 4.2.2 over\r\n quota (1234567)", "452 4.2.2 over quota (<id>)"),
        ("452 123456 and 12345", "452 <id> and 12345"),
        ("mailbox full", "mailbox full"),
        ("", ""),
    ],
)
def test_variable_parts_are_replaced_by_their_kind(text: str, template: str) -> None:
    assert template_of(text) == template


def test_the_template_is_bounded() -> None:
    assert len(template_of("mailbox 1a " * 10_000)) <= MAX_CHARS
    assert len(template_of("9" * 100_000)) <= MAX_CHARS


# the variable parts of a word, in one expression without shortcuts
_WHOLE = re.compile(
    r"(?P<ip>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?Z?)?\b|\b\d\d:\d\d:\d\d\b)"
    r"|(?P<id>\b(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Za-z])[\w-]{8,120}\b|\b\d{6,40}\b)",
    re.IGNORECASE,
)
_PIECES = (
    "0",
    "7",
    "42",
    "192.0.2.7",
    "a",
    "F",
    "x9",
    "é",
    "ſ",
    ".",
    "-",
    ":",
    "(",
    "]",
    "_",
    "2026-11-26",
    "4FzK8s2M9q",
)


def test_shortcuts_match_the_full_expression() -> None:
    seeded = random.Random(7)
    for _ in range(20_000):
        word = "".join(seeded.choices(_PIECES, k=seeded.randint(1, 12)))
        plain = _WHOLE.sub(lambda match: f"<{match.lastgroup}>", word)
        assert template_of(word) == plain.replace("<<", "<").replace(">>", ">"), word


def test_an_empty_path_is_removed() -> None:
    assert template_of("550 <> sender <a@b> refused") == "550  sender <address> refused"
