"""`depesche audit` against a scripted suite: what is requested, and what is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from cli.exits import Exit
from tests.flows.scripted_suite import KEY, ScriptedSuite
from tests.shell import Shell, serving

SEARCH = ("GET", "/history/v1/audit")
SENT = {
    "kind": "transition",
    "at": "2027-03-01T09:30:01Z",
    "type": "message.recorded",
    "status": "sent",
    "reason": None,
}
FAILED = SENT | {"status": "failed", "reason": "address_invalid", "detail": "no such user"}
REFUSED = {"kind": "decision", "at": "2027-03-01T09:30:00Z", "type": "decision.recorded", "reason": "no_consent"}


@pytest.fixture
def suite() -> ScriptedSuite:
    return ScriptedSuite()


@pytest.fixture
def shell(suite: ScriptedSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    with serving(suite) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


def test_words_and_filters_are_asked_for_as_they_were_meant(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on(*SEARCH, (200, {"items": [], "next_cursor": None}))
    shell.json(
        "audit",
        "search",
        "user unknown",
        "--without",
        "gmail",
        "-w",
        "channel=email",
        "-w",
        "channel=sms",
        "--status",
        "failed",
    )
    (query,) = map(parse_qs, suite.queries)
    assert query == {
        "q": ['"user unknown" -gmail'], "channel": ["email", "sms"], "status": ["failed"], "limit": ["50"]
    }  # fmt: skip


def test_pages_are_fetched_until_there_are_enough(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on(
        *SEARCH,
        (200, {"items": [SENT] * 500, "next_cursor": "next"}),
        (200, {"items": [SENT] * 100, "next_cursor": None}),
    )
    assert len(shell.json("audit", "search", "--limit", "700", "--from", "7d")) == 600
    first, second = map(parse_qs, suite.queries)
    assert (first["limit"], second["limit"], second["cursor"]) == (["500"], ["200"], ["next"])
    assert first["from"] == second["from"]
    assert abs(datetime.fromisoformat(first["from"][0]) - datetime.now(UTC) + timedelta(days=7)) < timedelta(minutes=1)


def test_each_kind_is_told_in_a_word(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on(*SEARCH, (200, {"items": [SENT, FAILED, REFUSED], "next_cursor": None}))
    text = shell.run("audit", "search").stdout
    assert all(word in text for word in ("sent", "failed: address_invalid", "no_consent", "no such user"))


def test_counts_are_a_table(suite: ScriptedSuite, shell: Shell) -> None:
    groups = [{"values": {"day": "2027-03-01T00:00:00Z", "status": "sent"}, "count": 7}]
    suite.on("GET", "/history/v1/audit/counts", (200, {"by": ["day", "status"], "groups": groups, "total": 7}))
    text = shell.run("audit", "counts", "--by", "day", "--by", "status", "--zone", "Europe/Berlin").stdout
    assert "2027-03-01 00:00:00 UTC" in text
    assert "7" in text
    assert parse_qs(suite.queries[0]) == {"by": ["day", "status"], "zone": ["Europe/Berlin"]}


@pytest.mark.parametrize("wrong", [("--from", "yesterday"), ("--where", "channel"), ("--where", "=x"), ("--to", "7y")])
def test_what_cannot_be_meant_is_said_before_anything_is_asked(
    suite: ScriptedSuite, shell: Shell, wrong: tuple[str, str]
) -> None:
    shell.run("audit", "search", *wrong, exit_code=Exit.USAGE)
    assert suite.queries == []
