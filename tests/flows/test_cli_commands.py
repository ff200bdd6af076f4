"""Commands against small servers that behave well, badly and not at all."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from tests.shell import Shell, serving

KEY = {"DEPESCHE_KEY": "dp_live_a_b"}


class Suite:
    """An ASGI application that answers from a script and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[tuple[str, str], Callable[[bytes], tuple[int, Any, dict[str, str]]]] = {}

    def on(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        """Answers in turn; the last one for good."""
        left = list(answers)
        self.answers[method, path] = lambda _: (*(left.pop(0) if len(left) > 1 else left[0]), {})

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], scope["path"], headers, body))
        answer = self.answers.get((scope["method"], scope["path"]))
        status, document, more = answer(body) if answer else (404, {"title": "Not found", "detail": "None."}, {})
        lines = isinstance(document, list) and "events" in scope["path"]
        raw = b"".join(json.dumps(d).encode() + b"\n" for d in document) if lines else json.dumps(document).encode()
        media = "application/x-ndjson" if lines else "application/json"
        head = [(b"content-type", media.encode()), *((k.encode(), v.encode()) for k, v in more.items())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": raw})


@pytest.fixture
def suite() -> Suite:
    return Suite()


@pytest.fixture
def shell(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    with serving(suite) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


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
    suite: Suite, shell: Shell, tmp_path: Path
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


def test_a_script_reads_one_document_and_nothing_else(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    suite.answers[EVENTS] = take_all
    (tmp_path / "batch.json").write_text('[{"a": 19.90}, {"b": 12345678901234567890}]')
    document = shell.json("events", "send", "batch.json")
    assert (document["received"], document["accepted"], document["notifications"]) == (2, 2, 2)
    assert suite.asked[0][3] == b'{"a": 19.90}\n{"b": 12345678901234567890}\n'


def test_events_come_through_a_pipe(suite: Suite, shell: Shell) -> None:
    suite.answers[EVENTS] = take_all
    result = shell.runner.invoke(shell.app, ["events", "send", "-", "--json"], env=shell.environment, input='{"a":1}\n')
    assert json.loads(result.stdout)["accepted"] == 1


def test_a_line_without_a_verdict_is_no_success(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    suite.on(*EVENTS, (202, [{"line": 1, "status": "accepted"}]))
    (tmp_path / "two.ndjson").write_text('{"a":1}\n{"b":2}\n')
    document = shell.json("events", "send", "two.ndjson", exit_code=Exit.REFUSED)
    assert (document["accepted"], document["rejected"], document["refused"][0]["line"]) == (1, 1, 2)


def test_a_suite_that_asks_for_patience_gets_it_with_the_same_idempotency_key(suite: Suite, shell: Shell) -> None:
    busy = {"title": "Not available right now", "detail": "Postgres starts."}
    suite.on("POST", "/access/v1/tenants", (503, busy), (429, busy), (201, {"number": 2}))
    assert shell.json("tenants", "create", "x") == {"number": 2}
    keys = [headers["idempotency-key"] for _, _, headers, _ in suite.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_conflict_is_not_tried_again(suite: Suite, shell: Shell) -> None:
    suite.on("POST", "/access/v1/tenants", (409, {"title": "In conflict", "detail": "It is there."}))
    shell.run("tenants", "create", "x", exit_code=Exit.CONFLICT)
    assert len(suite.asked) == 1


def test_a_first_try_that_is_still_running_is_waited_for(suite: Suite, shell: Shell) -> None:
    running = {"type": "https://depesche.dev/problems/idempotency-key-in-progress", "title": "Still running"}
    suite.on("POST", "/access/v1/tenants", (409, running), (201, {"number": 2}))
    assert shell.json("tenants", "create", "x") == {"number": 2}


def test_an_answer_that_is_no_json_is_no_crash(suite: Suite, shell: Shell) -> None:
    suite.answers["GET", "/access/v1/tenants"] = lambda _: (502, "<html>Bad gateway</html>", {})
    assert "502" in shell.run("tenants", "list", exit_code=Exit.FAILED).stderr


def test_lists_are_read_page_by_page(suite: Suite, shell: Shell) -> None:
    suite.on(
        "GET",
        "/access/v1/topics",
        (200, {"items": [{"name": "a"}], "next_cursor": "n"}),
        (200, {"items": [{"name": "b"}], "next_cursor": None}),
    )
    assert [topic["name"] for topic in shell.json("topics", "list")] == ["a", "b"]


TYPES = "/orders-notification/v1/event-types"


def test_apply_creates_changes_and_leaves_alone(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    held = {"type": "b", "version": 3, "description": "B", "schema": {"type": "object"}, "updated_at": "2027"}
    suite.on("GET", f"{TYPES}/b", (200, held))
    suite.on("GET", f"{TYPES}/c", (200, {**held, "type": "c"}))
    for name in "ac":
        suite.on("PUT", f"{TYPES}/{name}", (200, {}))
    (tmp_path / "types.yaml").write_text(
        "name: a\n---\nname: b\ndescription: B\nschema:\n  type: object\n---\ntype: c\ndescription: C\n"
    )
    outcomes = shell.json("event-types", "apply", "types.yaml")["outcomes"]
    assert [(o["name"], o["result"]) for o in outcomes] == [("a", "created"), ("b", "unchanged"), ("c", "changed")]
    assert [path for method, path, _, _ in suite.asked if method == "PUT"] == [f"{TYPES}/a", f"{TYPES}/c"]


def test_a_dry_run_sends_nothing(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text("name: a\n")
    assert shell.json("event-types", "apply", "types.yaml", "--dry-run")["outcomes"][0]["result"] == "created"
    assert {method for method, _, _, _ in suite.asked} == {"GET"}


def test_what_the_suite_refuses_is_shown_with_file_and_line(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    errors = [{"pointer": "/schema/type", "detail": "There is no type 'objekt'."}]
    suite.on("PUT", f"{TYPES}/a", (422, {"title": "Some fields are not valid", "errors": errors}))
    suite.on("PUT", f"{TYPES}/b", (201, {}))
    (tmp_path / "types.yaml").write_text("name: a\nschema:\n  type: objekt\n---\nname: b\n")
    result = shell.run("event-types", "apply", "types.yaml", exit_code=Exit.REFUSED)
    assert "types.yaml:3 /schema/type" in result.stderr
    assert "created" in result.stdout


def test_files_are_all_read_before_anything_is_sent(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text("name: a\n")
    (tmp_path / "2.yaml").write_text("name: [\n")
    result = shell.run("event-types", "apply", ".", exit_code=Exit.USAGE)
    assert "2.yaml:" in result.stderr
    assert suite.asked == []


def test_secrets_come_from_the_environment_and_unchanged_ones_are_recognised(
    suite: Suite, shell: Shell, tmp_path: Path
) -> None:
    fingerprint = hashlib.sha256(b"hush").hexdigest()[:8]
    held = {"name": "shop", "secrets": [fingerprint], "version": 1, "description": "", "webhook": "http://x"}
    suite.on("GET", "/orders-notification/v1/sources/shop", (200, held))
    suite.on("PUT", "/orders-notification/v1/sources/shop", (200, {}))
    (tmp_path / "s.yaml").write_text("name: shop\nsecrets: ['${SHOP_SECRET}']\n")
    shell.run("sources", "apply", "s.yaml", exit_code=Exit.USAGE)
    assert shell.json("sources", "apply", "s.yaml", SHOP_SECRET="hush")["outcomes"][0]["result"] == "unchanged"
    assert shell.json("sources", "apply", "s.yaml", SHOP_SECRET="new")["outcomes"][0]["result"] == "changed"
    assert [json.loads(body) for method, _, _, body in suite.asked if method == "PUT"] == [{"secrets": ["new"]}]


def test_nothing_there_says_what_to_start(shell: Shell) -> None:
    result = shell.run("events", "list", exit_code=Exit.UNREACHABLE, DEPESCHE_URL="http://127.0.0.1:9")
    assert "depesche up" in result.stderr
    assert shell.json("events", "list", exit_code=Exit.UNREACHABLE, DEPESCHE_URL="http://127.0.0.1:9")["exit_code"] == 3


def test_erasing_asks_before_it_is_done(suite: Suite, shell: Shell) -> None:
    shell.run("recipients", "erase", "customer:1", exit_code=Exit.USAGE)
    assert suite.asked == []
    suite.on("DELETE", "/tokens/v1/recipients/customer:1", (200, None))
    shell.run("recipients", "erase", "customer:1", "--yes")
    assert suite.asked[0][:2] == ("DELETE", "/tokens/v1/recipients/customer:1")


def test_an_import_reports_refused_rows(suite: Suite, shell: Shell, tmp_path: Path) -> None:
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


TEMPLATES = "/templates/v1/templates"
REFUSED = {
    "title": "Some fields are not valid",
    "errors": [
        {"pointer": "/locales/de/title", "detail": "There is no variable 'recipient.nam'."},
        {"pointer": "/locales/en/body", "detail": "It is missing."},
    ],
}


def test_publishing_goes_on_after_a_refusal_and_tells_every_problem(suite: Suite, shell: Shell) -> None:
    drafts = [{"name": "a", "state": "draft"}, {"name": "b", "state": "published"}, {"name": "c", "state": "changed"}]
    suite.on("GET", TEMPLATES, (200, {"items": drafts, "next_cursor": None}))
    suite.on("POST", f"{TEMPLATES}/a:publish", (422, REFUSED))
    suite.on("POST", f"{TEMPLATES}/c:publish", (200, {"name": "c", "version": 2}))
    result = shell.run("templates", "publish", "--all", exit_code=Exit.REFUSED)
    assert "a /locales/de/title: There is no variable" in result.stderr
    assert "a /locales/en/body: It is missing." in result.stderr
    assert [path for method, path, _, _ in suite.asked if method == "POST"] == [
        f"{TEMPLATES}/a:publish",
        f"{TEMPLATES}/c:publish",
    ]


def test_communications_that_use_newer_templates_are_published_too(suite: Suite, shell: Shell) -> None:
    path = "/orders-notification/v1/communications"
    page = {"items": [{"name": "a", "state": "published"}], "next_cursor": None}
    suite.on("GET", path, (200, page))
    suite.on("POST", f"{path}/a:publish", (200, {"version": 2}))
    assert shell.json("communications", "publish", "--all") == [{"name": "a", "result": "published", "version": 2}]


def test_what_is_to_be_published_must_be_said(shell: Shell) -> None:
    shell.run("templates", "publish", exit_code=Exit.USAGE)
    shell.run("templates", "publish", "a", "--all", exit_code=Exit.USAGE)


def test_what_is_exported_can_be_applied_and_changes_nothing(suite: Suite, shell: Shell) -> None:
    body = {"channel": "sms", "description": "", "locales": {"de": {"text": "Code: {{ event.data.code }}\nDanke"}}}
    held = {"name": "code.sms", **body, "state": "published", "version": 4, "published": 3, "changed_at": "2027"}
    suite.on("GET", TEMPLATES, (200, {"items": [held], "next_cursor": None}))
    suite.on("GET", f"{TEMPLATES}/code.sms", (200, held))
    shell.run("templates", "export", "-o", "out.yaml")
    assert "text: |" in Path("out.yaml").read_text()
    assert shell.json("templates", "apply", "out.yaml")["outcomes"][0]["result"] == "unchanged"


def test_one_command_applies_and_publishes_a_whole_folder_in_order(suite: Suite, shell: Shell, tmp_path: Path) -> None:
    communications = "/orders-notification/v1/communications"
    for path in (f"{TEMPLATES}/t", f"{communications}/c", "/access/v1/topics/news"):
        suite.on("PUT", path, (201, {}))
    suite.on("GET", TEMPLATES, (200, {"items": [{"name": "t", "state": "draft"}], "next_cursor": None}))
    suite.on("GET", communications, (200, {"items": [{"name": "c", "state": "draft"}], "next_cursor": None}))
    suite.on("POST", f"{TEMPLATES}/t:publish", (200, {"version": 1}))
    suite.on("POST", f"{communications}/c:publish", (200, {"version": 1}))
    (tmp_path / "c.yaml").write_text("kind: communication\nname: c\n---\nkind: topic\nname: news\n")
    (tmp_path / "t.yaml").write_text("kind: template\nname: t\n")
    done = shell.json("apply", ".", "--publish")
    assert [outcome["kind"] for outcome in done["outcomes"]] == ["topic", "template", "communication"]
    assert [item["name"] for item in done["published"]] == ["t", "c"]
    (tmp_path / "x.yaml").write_text("name: x\n")
    assert "x.yaml:1" in shell.run("apply", ".", exit_code=Exit.USAGE).stderr


WHY = {
    "verdict": "not_sent",
    "certain": True,
    "sentence": "It was not sent. The customer has [no] consent.",
    "next_step": "Ask the customer.",
    "facts": [{"at": "2027-03-01T09:00:00Z", "source": "delivery", "kind": "decision", "text": "Skipped."}],
    "render": None,
    "others": [],
}


def test_why_says_the_verdict_the_next_step_and_the_facts(suite: Suite, shell: Shell) -> None:
    suite.on("GET", "/history/v1/why", (200, WHY))
    result = shell.run("why", "--order", "100045", exit_code=Exit.REFUSED)
    for words in ("The customer has [no] consent.", "→ Ask the customer.", "2027-03-01 09:00:00 UTC", "Skipped."):
        assert words in result.stdout
    shell.run("why", exit_code=Exit.USAGE)


def test_why_ends_well_only_where_it_was_sent_once(suite: Suite, shell: Shell) -> None:
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
