"""`recipients export`: a file that lacks something without saying so would be a wrong answer to a person."""

from typing import Any

import pytest

from cli.exits import Exit
from tests.flows.scripted_suite import ScriptedSuite
from tests.shell import Shell

KEY = "customer:ada"
_RECIPIENT = {"key": KEY, "first_name": "Ada", "emails": [{"value": "ada@example.com"}]}
_MESSAGE = "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17"


def page(*items: Any, cursor: str | None = None, **more: Any) -> tuple[int, Any]:
    return 200, {"items": list(items), "next_cursor": cursor, **more}


@pytest.fixture
def known(suite: ScriptedSuite) -> ScriptedSuite:
    """A suite that knows Ada, with one message."""
    suite.on("GET", f"/tokens/v1/recipients/{KEY}", (200, _RECIPIENT))
    suite.on("GET", f"/tokens/v1/recipients/{KEY}/consents", page())
    suite.on("GET", "/orders-notification/v1/events", page())
    suite.on("GET", "/history/v1/timeline", page({"message": _MESSAGE}, complete=True))
    suite.on("GET", "/bounce/v1/bounces", page())
    suite.on("GET", "/bounce/v1/suppressions", page())
    suite.on("GET", "/history/v1/audit", page())
    suite.on("POST", "/delivery/v1/messages:render", (200, {"messages": {_MESSAGE: {"digest": "equal", "parts": {}}}}))
    return suite


def test_every_page_of_every_list_is_in_it(known: ScriptedSuite, shell: Shell) -> None:
    known.on("GET", "/bounce/v1/bounces", page({"id": "1"}, cursor="next"), page({"id": "2"}))
    more = page({"message": _MESSAGE}, cursor="next", complete=True), page({"message": None}, complete=True)
    known.on("GET", "/history/v1/timeline", *more)
    document = shell.json("recipients", "export", KEY)
    assert [bounce["id"] for bounce in document["bounces"]] == ["1", "2"]
    assert len(document["timeline"]) == 2
    assert document["texts"] == {_MESSAGE: {"digest": "equal", "parts": {}}}


def test_ten_years_of_audit_are_searched_without_a_gap(known: ScriptedSuite, shell: Shell) -> None:
    shell.json("recipients", "export", KEY)
    asked = [
        query for (_, path, _, _), query in zip(known.asked, known.queries, strict=True) if path.endswith("/audit")
    ]
    windows = [dict(pair.split("=") for pair in query.split("&")) for query in asked]
    assert len(windows) == 10
    assert [window["from"] for window in windows[:-1]] == [window["to"] for window in windows[1:]]


def test_an_event_about_others_too_says_so_and_keeps_their_decisions_out(known: ScriptedSuite, shell: Shell) -> None:
    decisions = [{"recipient": KEY, "communication": "c"}, {"recipient": "customer:bob", "communication": "c"}]
    known.on("GET", "/orders-notification/v1/events", page({"id": "e1"}))
    known.on("GET", "/orders-notification/v1/events/e1", (200, {"id": "e1", "data": {}, "decisions": decisions}))
    (event,) = shell.json("recipients", "export", KEY)["events"]
    assert event == {"id": "e1", "data": {}, "decisions": decisions[:1], "names_others": True}


def test_an_event_whose_day_has_ended_meanwhile_stays_in_the_list(known: ScriptedSuite, shell: Shell) -> None:
    known.on("GET", "/orders-notification/v1/events", page({"id": "gone", "type": "order.placed"}))
    (event,) = shell.json("recipients", "export", KEY)["events"]
    assert event["type"] == "order.placed"


@pytest.mark.parametrize("hidden", ["names", "texts"])
def test_masked_data_is_refused(known: ScriptedSuite, shell: Shell, hidden: str) -> None:
    if hidden == "names":
        known.on("GET", f"/tokens/v1/recipients/{KEY}", (200, _RECIPIENT | {"first_name": "A•••"}))
    else:
        parts = {_MESSAGE: {"digest": "equal", "parts": None}}
        known.on("POST", "/delivery/v1/messages:render", (200, {"messages": parts}))
    refused = shell.run("recipients", "export", KEY, exit_code=Exit.UNAUTHORISED)
    assert "pii:read" in refused.stderr


def test_a_store_that_is_away_leaves_no_incomplete_file(known: ScriptedSuite, shell: Shell, tmp_path: Any) -> None:
    known.on("GET", "/history/v1/timeline", page(complete=False))
    shell.run("recipients", "export", KEY, "--out", str(tmp_path / "ada.json"), exit_code=Exit.UNREACHABLE)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_its_owners_alone_even_if_it_was_there_before(
    known: ScriptedSuite, shell: Shell, tmp_path: Any
) -> None:
    out = tmp_path / "ada.json"
    out.touch()
    out.chmod(0o644)
    shell.run("recipients", "export", KEY, "--out", str(out))
    assert (out.stat().st_mode & 0o777, "ada@example.com" in out.read_text()) == (0o600, True)


def test_somebody_who_left_tokens_but_not_the_rest_is_exported(known: ScriptedSuite, shell: Shell) -> None:
    for path in ("", "/consents"):
        known.on("GET", f"/tokens/v1/recipients/{KEY}{path}", (404, {"title": "Not found"}))
    document = shell.json("recipients", "export", KEY)
    assert (document["recipient"], document["consents"], len(document["timeline"])) == (None, [], 1)


def test_somebody_unknown_is_not_found(known: ScriptedSuite, shell: Shell) -> None:
    known.on("GET", f"/tokens/v1/recipients/{KEY}", (404, {"title": "Not found"}))
    known.on("GET", "/history/v1/timeline", page(complete=True))
    refused = shell.run("recipients", "export", KEY, exit_code=Exit.NOT_FOUND)
    assert "Nothing is known about customer:ada" in refused.stderr
