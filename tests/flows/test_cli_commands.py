"""Commands against a suite that behaves well, badly and not at all."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from cli.exits import Exit
from tests.flows.scripted_suite import ScriptedSuite
from tests.shell import Shell


def take_all(body: bytes) -> tuple[int, Any, dict[str, str]]:
    verdicts: list[dict[str, Any]] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if b"broken" in line:
            refused = {"status": "rejected", "detail": "Not valid JSON.", "pointer": "/data"}
            verdicts.append({"line": number, **refused})
        else:
            status = "duplicate" if b"twice" in line else "accepted"
            verdicts.append({"line": number, "status": status, "notifications": 1 if status == "accepted" else 0})
    return 202, verdicts, {}


EVENTS = ("POST", "/orders-notification/v1/events")


def test_events_are_counted_by_verdict_and_refusals_named_by_their_line(
    suite: ScriptedSuite, shell: Shell, tmp_path: Path
) -> None:
    suite.answers[EVENTS] = take_all
    file = tmp_path / "day.ndjson"
    lines = [f'{{"n": {number}}}' for number in range(1500)]
    lines[3], lines[1200] = '{"twice": 1}', '{"broken":'
    file.write_text("\n".join(lines) + "\n")
    result = shell.run("events", "send", str(file), "--report", "refused.ndjson", exit_code=Exit.REFUSED)
    assert "1,500 events" in result.stdout
    assert "1,498 accepted" in result.stdout
    assert "line 1201 /data: Not valid JSON." in result.stderr
    assert json.loads((tmp_path / "refused.ndjson").read_text())["line"] == 1201
    assert len(suite.asked) == 2


def test_a_script_reads_one_document_and_nothing_else(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    suite.answers[EVENTS] = take_all
    (tmp_path / "batch.json").write_text('[{"a": 19.90}, {"b": 12345678901234567890}]')
    document = shell.json("events", "send", "batch.json")
    assert (document["received"], document["accepted"], document["notifications"]) == (2, 2, 2)
    assert suite.asked[0][3] == b'{"a": 19.90}\n{"b": 12345678901234567890}\n'


def test_events_come_through_a_pipe(suite: ScriptedSuite, shell: Shell) -> None:
    suite.answers[EVENTS] = take_all
    result = shell.runner.invoke(shell.app, ["events", "send", "-", "--json"], env=shell.environment, input='{"a":1}\n')
    assert json.loads(result.stdout)["accepted"] == 1


def test_a_line_without_a_verdict_is_no_success(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    suite.on(*EVENTS, (202, [{"line": 1, "status": "accepted"}]))
    (tmp_path / "two.ndjson").write_text('{"a":1}\n{"b":2}\n')
    document = shell.json("events", "send", "two.ndjson", exit_code=Exit.REFUSED)
    assert (document["accepted"], document["rejected"], document["refused"][0]["line"]) == (1, 1, 2)


def test_a_suite_that_asks_for_patience_gets_it_with_the_same_key(suite: ScriptedSuite, shell: Shell) -> None:
    busy = {"title": "Not available right now", "detail": "Postgres starts."}
    suite.on("POST", "/access/v1/tenants", (503, busy), (429, busy), (201, {"number": 2}))
    assert shell.json("tenants", "create", "x") == {"number": 2}
    keys = [headers["idempotency-key"] for _, _, headers, _ in suite.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_conflict_is_not_tried_again(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("POST", "/access/v1/tenants", (409, {"title": "In conflict", "detail": "It is there."}))
    shell.run("tenants", "create", "x", exit_code=Exit.CONFLICT)
    assert len(suite.asked) == 1


def test_a_first_try_that_is_still_running_is_waited_for(suite: ScriptedSuite, shell: Shell) -> None:
    running = {"type": "https://depesche.dev/problems/idempotency-key-in-progress", "title": "Still running"}
    suite.on("POST", "/access/v1/tenants", (409, running), (201, {"number": 2}))
    assert shell.json("tenants", "create", "x") == {"number": 2}


def test_an_answer_that_is_no_json_is_no_crash(suite: ScriptedSuite, shell: Shell) -> None:
    suite.answers["GET", "/access/v1/tenants"] = lambda _: (502, "<html>Bad gateway</html>", {})
    assert "502" in shell.run("tenants", "list", exit_code=Exit.UNREACHABLE).stderr


def test_a_fault_of_the_suite_says_the_trace_to_report(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", "/access/v1/tenants", (500, {"title": "Our side", "detail": "Logged.", "trace_id": "4bf92f"}))
    assert "Trace id: 4bf92f" in shell.run("tenants", "list", exit_code=Exit.FAILED).stderr


def test_lists_are_read_page_by_page(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on(
        "GET",
        "/access/v1/topics",
        (200, {"items": [{"name": "a"}], "next_cursor": "n"}),
        (200, {"items": [{"name": "b"}], "next_cursor": None}),
    )
    assert [topic["name"] for topic in shell.json("topics", "list")] == ["a", "b"]


def test_a_limit_ends_a_list_before_its_last_page(suite: ScriptedSuite, shell: Shell) -> None:
    pages = [{"items": [{"id": str(n)} for n in range(size)], "next_cursor": "n"} for size in (500, 100)]
    suite.on("GET", EVENTS[1], *((200, page) for page in pages))
    assert len(shell.json("events", "list", "--limit", "600")) == 600
    assert [parse_qs(query)["limit"] for query in suite.queries] == [["500"], ["100"]]


def test_rejections_are_replayed_to_the_last_portion(suite: ScriptedSuite, shell: Shell) -> None:
    path = "/orders-notification/v1/rejections:replay"
    portion = {"replayed": 2, "rejected": 0, "results": [], "next_cursor": "n"}
    suite.on("POST", path, (200, portion), (200, portion | {"rejected": 1, "next_cursor": None}))
    done = shell.json("rejections", "replay", "--source", "shopify", exit_code=Exit.REFUSED)
    assert (done["replayed"], done["rejected"]) == (4, 1)
    assert [json.loads(body).get("cursor") for _, _, _, body in suite.asked] == [None, "n"]


def test_dead_letters_that_fail_again_are_not_replayed_for_ever(suite: ScriptedSuite, shell: Shell) -> None:
    done = {"count": 1_000, "ids": [], "at": "2027-03-01T09:00:00Z", "more": True, "unreadable": 0}
    suite.on("POST", "/bounce/v1/dead-letters:replay", (200, done), (200, done | {"count": 1, "more": False}))
    assert shell.json("deadletters", "replay", "--type", "a.b", "--service", "bounce") == {"replayed": 1_001}
    assert [json.loads(body).get("until") for _, _, _, body in suite.asked] == [None, done["at"]]


def test_nothing_there_says_what_to_start(shell: Shell) -> None:
    result = shell.run("events", "list", exit_code=Exit.UNREACHABLE, DEPESCHE_URL="http://127.0.0.1:9")
    assert "depesche up" in result.stderr
    assert shell.json("events", "list", exit_code=Exit.UNREACHABLE, DEPESCHE_URL="http://127.0.0.1:9")["exit_code"] == 3


def test_erasing_asks_before_it_is_done(suite: ScriptedSuite, shell: Shell) -> None:
    shell.run("recipients", "erase", "customer:1", exit_code=Exit.USAGE)
    assert suite.asked == []
    suite.on("DELETE", "/tokens/v1/recipients/customer:1", (200, None))
    shell.run("recipients", "erase", "customer:1", "--yes")
    assert suite.asked[-1][:2] == ("DELETE", "/tokens/v1/recipients/customer:1")


def test_a_bare_id_is_a_customers(suite: ScriptedSuite, shell: Shell) -> None:
    for key in ("4711", "customer:4711"):
        suite.on("GET", "/tokens/v1/recipients/customer:4711", (200, {"key": "customer:4711"}))
        assert "customer:4711" in shell.run("recipients", "show", key).stdout


@pytest.mark.parametrize(("answer", "known"), [((200, {}), True), ((403, {}), True), ((404, {}), False)])
def test_erasing_under_a_misspelt_key_says_that_nobody_has_it(
    suite: ScriptedSuite, shell: Shell, answer: tuple[int, Any], known: bool
) -> None:
    suite.on("GET", "/tokens/v1/recipients/customer:1", answer)
    suite.on("DELETE", "/tokens/v1/recipients/customer:1", (200, None))
    told = shell.run("recipients", "erase", "customer:1", "--yes").stdout
    assert told.startswith("customer:1 is erased" if known else "There was no recipient customer:1")
    assert shell.json("recipients", "erase", "customer:1", "--yes")["known"] is known


@pytest.mark.parametrize(("limit", "next_step"), [("50", "--limit 200 shows more"), ("1000", "narrow the question")])
def test_a_timeline_that_is_cut_off_says_how_to_see_the_rest(
    suite: ScriptedSuite, shell: Shell, limit: str, next_step: str
) -> None:
    suite.on("GET", "/history/v1/timeline", (200, {"items": [], "complete": True, "next_cursor": "n"}))
    result = shell.run("timeline", "--recipient", "customer:1", "--limit", limit)
    assert next_step in result.stdout + result.stderr


def test_an_import_reports_refused_rows(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    report = {
        "id": "i",
        "state": "done",
        "rows": 2,
        "created": 1,
        "changed": 0,
        "unchanged": 0,
        "refused": 1,
        "refusals": [{"row": 2, "line": 3, "field": "E-Mail", "reason": "No e-mail address."}],
    }
    suite.on("POST", "/tokens/v1/imports", (202, {**report, "state": "running"}))
    suite.on("GET", "/tokens/v1/imports/i", (200, report))
    (tmp_path / "c.csv").write_bytes(b"key;E-Mail\n1;a@b.c\n2;x\n")
    result = shell.run("recipients", "import", "c.csv", exit_code=Exit.REFUSED)
    assert "line 3 E-Mail: No e-mail address." in result.stderr
    assert (suite.asked[0][2]["content-type"], suite.asked[0][3]) == ("text/csv", b"key;E-Mail\n1;a@b.c\n2;x\n")


def test_a_file_is_not_sent_again_by_a_command_that_has_read_it_to_its_end(
    suite: ScriptedSuite, shell: Shell, tmp_path: Path
) -> None:
    suite.on("POST", "/tokens/v1/imports", (503, {"title": "Not available right now", "detail": "Postgres starts."}))
    (tmp_path / "c.csv").write_bytes(b"key\n1\n")
    shell.run("recipients", "import", "c.csv", exit_code=Exit.UNREACHABLE)
    assert [body for _, _, _, body in suite.asked] == [b"key\n1\n"]


def test_an_import_says_what_columns_mean_and_reads_standard_input(suite: ScriptedSuite, shell: Shell) -> None:
    counted = {"rows": 1, "created": 1, "changed": 0, "unchanged": 0, "refused": 0, "refusals": []}
    suite.on("POST", "/tokens/v1/imports", (201, {"id": "i", "state": "done", "ignored_columns": ["Age"], **counted}))
    columns = ("--column", "EUID=customer_id", "--column", "Size=attributes.size")
    given = ("recipients", "import", "-", "--format", "csv", *columns)
    result = shell.runner.invoke(shell.app, given, env=shell.environment, input="EUID;Size;Age\n1;L;7\n")
    assert "ignored: Age" in result.stdout
    assert "--column" in result.stdout
    assert suite.asked[0][3] == b"EUID;Size;Age\n1;L;7\n"
    assert parse_qs(suite.queries[0])["column"] == ["EUID=customer_id", "Size=attributes.size"]
    for words, says in (
        (["-"], "--format csv"),
        (["people.xlsx"], "Save it as CSV"),
        (["people.csv", "--format", "xlsx"], "no format 'xlsx'"),
    ):
        assert says in shell.run("recipients", "import", *words, exit_code=Exit.USAGE).stderr


WHY = {
    "verdict": "not_sent",
    "certain": True,
    "sentence": "It was not sent. The customer has [no] consent.",
    "next_step": "Ask the customer.",
    "facts": [{"at": "2027-03-01T09:00:00Z", "source": "delivery", "kind": "decision", "text": "Skipped."}],
    "render": None,
    "others": [],
}


def test_why_says_the_verdict_the_next_step_and_the_facts(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", "/history/v1/why", (200, WHY))
    result = shell.run("why", "--order", "100045", exit_code=Exit.REFUSED)
    for words in ("The customer has [no] consent.", "→ Ask the customer.", "2027-03-01 09:00:00 UTC", "Skipped."):
        assert words in result.stdout
    shell.run("why", exit_code=Exit.USAGE)
    shell.run("why", "--communication", "parcel-shipped", exit_code=Exit.USAGE)  # it only narrows


def test_why_ends_well_only_where_it_was_sent_once(suite: ScriptedSuite, shell: Shell) -> None:
    sent, twice = {**WHY, "verdict": "sent"}, {**WHY, "verdict": "sent_twice"}
    suite.on("GET", "/history/v1/why", (200, sent), (200, twice))
    assert shell.json("why", "--message", "m")["verdict"] == "sent"
    assert shell.json("why", "--message", "m", exit_code=Exit.REFUSED)["verdict"] == "sent_twice"


def test_every_command_has_help_with_an_example(shell: Shell) -> None:
    groups = [group for group in shell.app.registered_groups if group.typer_instance]
    for group in groups:
        assert group.typer_instance
        for command in group.typer_instance.registered_commands:
            text = " ".join(shell.run(str(group.name), str(command.name), "--help").stdout.split())
            assert f"Example: depesche {group.name} {command.name}" in text, (group.name, command.name)
