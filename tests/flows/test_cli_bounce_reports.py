"""`depesche bounce replay` and `reports` against a scripted suite: what is sent, what is shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import bounce_replays
from cli.exits import Exit
from services.bounce.api.replay_shapes import CHANGE
from services.bounce.api.replay_shapes import REPLAY as DONE
from tests.flows.scripted_suite import KEY, ScriptedSuite
from tests.shell import Shell, serving

PATH = "/bounce/v1/replays"
ID = DONE["id"]
FROM = ("bounce", "replay", "--from", "2027-02-01T00:00:00Z")


@pytest.fixture
def suite() -> ScriptedSuite:
    return ScriptedSuite()


@pytest.fixture
def shell(suite: ScriptedSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bounce_replays, "_SECONDS", 0.01)
    with serving(suite) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


def ends_as(suite: ScriptedSuite, **end: Any) -> None:
    suite.on("POST", PATH, (202, DONE | {"state": "waiting", "result": None}))
    running = DONE | {"state": "running", "facts_done": 10, "result": None}
    suite.on("GET", f"{PATH}/{ID}", (200, running), (200, DONE | end))
    suite.on("GET", f"{PATH}/{ID}/changes", (200, {"items": [CHANGE], "next_cursor": None}))


def test_a_replay_is_asked_for_awaited_and_shown(suite: ScriptedSuite, shell: Shell) -> None:
    ends_as(suite)
    numbers = ("--setting", "score_days=2", "--setting", "trusted_providers=gmail, yahoo", "--rules", "7")
    shown = shell.run(*FROM, *numbers).stdout
    asked = json.loads(suite.asked[0][3])
    assert asked == {
        "since": "2027-02-01T00:00:00Z",
        "rules": 7,
        "settings": {"score_days": 2, "trusted_providers": ["gmail", "yahoo"]},
    }
    assert [path for _, path, _, _ in suite.asked].count(f"{PATH}/{ID}") == 2
    for words in ("61,020 facts", "1,204 would not", "customer:1042", "policy by gmail-closed-lists", "vanishes"):
        assert words in shown


def test_scripts_get_the_replay_with_its_changes(suite: ScriptedSuite, shell: Shell) -> None:
    ends_as(suite)
    found = shell.json(*FROM)
    assert (found["state"], found["changes"][0]["recipient"]) == ("done", "customer:1042")


def test_a_replay_that_fails_says_why(suite: ScriptedSuite, shell: Shell) -> None:
    ends_as(suite, state="failed", result=None, problem="There is no rule set 7.")
    shown = shell.run(*FROM, exit_code=Exit.REFUSED)
    assert "There is no rule set 7." in shown.stderr


@pytest.mark.parametrize("setting", ["score_days", "score_days=", "score_days=many"])
def test_a_setting_that_is_none_is_not_sent(suite: ScriptedSuite, shell: Shell, setting: str) -> None:
    shell.run(*FROM, "--setting", setting, exit_code=Exit.USAGE)
    assert suite.asked == []


def test_reports_are_lists(suite: ScriptedSuite, shell: Shell) -> None:
    winners = [{"rule": "unknown-user-and-code", "count": 411}]
    line = {"rule": "unknown-user-code", "count": 411, "last_at": "2027-03-01T08:59:00Z", "winners": winners}
    suite.on("GET", "/bounce/v1/reports/outdone-rules", (200, {"items": [line], "next_cursor": None}))
    assert "unknown-user-and-code (411)" in shell.run("bounce", "reports", "outdone").stdout
    suite.on("GET", "/bounce/v1/reports/dead-rules", (200, {"items": [], "next_cursor": None}))
    assert "Every rule has matched." in shell.run("bounce", "reports", "dead").stdout


def test_a_rule_is_made_of_what_nobody_reads(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("POST", "/bounce/v1/reports/unread-texts/6f1c:rule", (201, {"id": "gmail-winter"}))
    shown = shell.run("bounce", "reports", "make-rule", "6f1c", "--category", "inactive").stdout
    assert "depesche bounce rules show gmail-winter" in shown
    assert json.loads(suite.asked[0][3]) == {"category": "inactive"}


def test_a_publication_names_what_was_seen(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("POST", "/bounce/v1/rule-sets", (201, {"number": 7, "count": 2}))
    shell.run("bounce", "rules", "publish", "--note", "closed lists", "--replay", ID)
    assert json.loads(suite.asked[0][3])["replay"] == ID
