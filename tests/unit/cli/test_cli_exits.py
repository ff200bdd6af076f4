"""Exit codes are a promise to scripts: the card, the help and the code agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli.exits import HELP, Exit, of_status
from cli.main import app
from cli.session import with_errors_shown

CARD = Path(__file__).parents[3] / "cli" / "README.md"


def test_the_card_and_the_help_list_every_exit_code() -> None:
    codes = {int(code) for code in Exit}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", CARD.read_text(), re.MULTILINE)} == codes
    assert {int(code) for code in re.findall(r"(\d+) [a-z]", HELP)} == codes


@pytest.mark.parametrize("code", [Exit.OK, Exit.REFUSED])
def test_a_pipe_closed_early_changes_no_exit_code(code: Exit) -> None:
    text = "import sys, typer; from cli.output import console; from cli.session import with_errors_shown\n"
    text += f"def run():\n    console(sys.stdout).print('done')\n    raise typer.Exit({int(code)})\n"
    text += "try:\n    with_errors_shown(run)\nexcept typer.Exit as ended:\n    sys.exit(ended.exit_code)"
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([sys.executable, "-c", text], stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (code, b"")


def test_ctrl_c_says_what_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        with_errors_shown(interrupted)
    assert ended.value.exit_code == 130
    assert "What was already sent stays" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(typer.Exit):
        with_errors_shown(interrupted, as_json=True)
    assert json.loads(capsys.readouterr().out)["exit_code"] == 130


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
def test_each_status_has_one_exit_code(status: int, code: Exit) -> None:
    assert of_status(status) is code


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("events list --json --nope", "--nope"),
        ("events lis --json", "lis"),
        ("events list --json --limit many", "--limit"),
        ("why --json --limit", "--limit"),
    ],
)
def test_wrong_usage_with_json_is_a_document_like_every_other_error(words: str, says: str) -> None:
    done = CliRunner().invoke(app, words.split())
    document = json.loads(done.stdout)
    assert (done.exit_code, document["exit_code"], done.stderr) == (Exit.USAGE, Exit.USAGE, "")
    assert says in document["error"]
    assert "--help" in document["hint"]


def test_wrong_usage_without_json_is_for_people() -> None:
    done = CliRunner().invoke(app, ["events", "list", "--nope"])
    assert (done.exit_code, done.stdout) == (Exit.USAGE, "")
    assert "--nope" in done.stderr
