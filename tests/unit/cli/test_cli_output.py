"""What comes from outside is shown by a terminal, never obeyed by it."""

import io

import pytest
from rich.text import Text

from cli.errors import CliError
from cli.exits import Exit
from cli.output import _Console, console, facts, problem, safe, table

HOSTILE = "Ada\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066\x7f"


@pytest.mark.parametrize("terminal", [True, False])
def test_controls_in_texts_from_outside_are_marked_and_not_obeyed(terminal: bool) -> None:
    file = io.StringIO()
    out = _Console(file=file, force_terminal=True, no_color=True, width=200) if terminal else console(file)
    out.print(table([{"subject": HOSTILE}], ["subject"]))
    out.print(facts({"subject": HOSTILE, "detail": {"text": HOSTILE}, "names": [HOSTILE]}))
    out.print(problem(CliError(HOSTILE, exit_code=Exit.FAILED, hint=HOSTILE)))
    out.print(f"[bold]{safe(HOSTILE)}[/]")
    out.print(Text(HOSTILE))
    shown = file.getvalue()
    plain = shown.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "").replace("\x1b[1;31m", "")
    assert not set(plain) & set("\x1b\x07\x9b\x7f\u202e\u2066")
    assert shown.count("Ada␛]0;title�2J�gnp.exe��") >= 5


def test_letters_of_every_script_and_emoji_are_shown_as_they_are() -> None:
    file = io.StringIO()
    text = "Zoë 山田 \u05d0\u200f نرم\u200cافزار 👩\u200d🚀"
    console(file).print(Text(text))
    assert file.getvalue() == text + "\n"
