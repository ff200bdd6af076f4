"""Exit codes are a promise to scripts: the card, the help and the code say the same."""

import re
from pathlib import Path

import pytest

from cli.exits import HELP, Exit, of_status

CARD = Path(__file__).parents[3] / "cli" / "README.md"


def test_the_card_and_the_help_name_every_exit_code() -> None:
    codes = {int(code) for code in Exit}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", CARD.read_text(), re.MULTILINE)} == codes
    assert {int(code) for code in re.findall(r"(\d) [a-z]", HELP)} == codes


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Exit.REFUSED),
        (401, Exit.UNAUTHORISED),
        (403, Exit.UNAUTHORISED),
        (404, Exit.NOT_FOUND),
        (409, Exit.CONFLICT),
        (412, Exit.CONFLICT),
        (422, Exit.REFUSED),
        (429, Exit.UNREACHABLE),
        (500, Exit.FAILED),
        (503, Exit.UNREACHABLE),
    ],
)
def test_a_status_has_one_exit_code(status: int, code: Exit) -> None:
    assert of_status(status) is code
