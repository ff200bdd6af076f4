"""Two replies have the same template where only their variable parts differ."""

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
        ("mailbox full", "mailbox full"),
        ("", ""),
    ],
)
def test_what_varies_is_named(text: str, template: str) -> None:
    assert template_of(text) == template


def test_it_is_bounded() -> None:
    assert len(template_of("mailbox 1a " * 10_000)) <= MAX_CHARS
    assert len(template_of("9" * 100_000)) <= MAX_CHARS
