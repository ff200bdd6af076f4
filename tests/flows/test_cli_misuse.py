"""What goes wrong around a command is said, costs no data, and has its exit code."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.api import Api
from cli.errors import Unreachable
from cli.exits import Exit
from tests.flows.scripted_suite import ScriptedSuite
from tests.shell import Shell

TEMPLATES = "/templates/v1/templates"
COMMUNICATIONS = "/orders-notification/v1/communications"
EVENTS = "/orders-notification/v1/events"


def page(*items: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return (200, {"items": list(items), "next_cursor": None})


@pytest.mark.parametrize(
    "words", [("events", "send", "in.ndjson"), ("recipients", "import", "in.ndjson"), ("bounce", "import", "in.ndjson")]
)
def test_a_report_never_replaces_the_input(suite: ScriptedSuite, shell: Shell, words: tuple[str, ...]) -> None:
    Path("in.ndjson").write_text('{"id": "1"}\n')

    refused = shell.run(*words, "--report", "in.ndjson", exit_code=Exit.USAGE)

    assert "would overwrite the input" in refused.stderr
    assert Path("in.ndjson").read_text() == '{"id": "1"}\n'


@pytest.mark.parametrize("words", [("events", "send"), ("recipients", "import"), ("bounce", "import")])
def test_a_report_that_cannot_be_written_is_noticed_before_anything_is_sent(
    suite: ScriptedSuite, shell: Shell, words: tuple[str, ...]
) -> None:
    Path("in.ndjson").write_text('{"id": "1"}\n')

    refused = shell.run(*words, "in.ndjson", "--report", "none/report.ndjson", exit_code=Exit.USAGE)

    assert "none/report.ndjson cannot be written" in refused.stderr.replace("\n", " ")
    assert suite.asked == []


def test_an_export_that_cannot_be_written_is_no_crash(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", TEMPLATES, page())

    assert "none/out.yaml" in shell.run("templates", "export", "-o", "none/out.yaml", exit_code=Exit.USAGE).stderr


@pytest.mark.parametrize("key", ["ключ", "dp live", "dp_\x01"])
def test_a_key_that_cannot_be_one_is_not_sent(suite: ScriptedSuite, shell: Shell, key: str) -> None:
    refused = shell.run("templates", "list", exit_code=Exit.UNAUTHORISED, DEPESCHE_KEY=key)

    assert "DEPESCHE_KEY" in refused.stderr
    assert suite.asked == []


def test_a_line_end_after_the_key_does_no_harm(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", TEMPLATES, page())

    shell.run("templates", "list", DEPESCHE_KEY="dp_live_a_b\r\n")

    assert suite.asked[0][2]["authorization"] == "Bearer dp_live_a_b"


@pytest.mark.parametrize("url", ["shop.example", "http://[::1", "ftp://shop.example", "http://"])
def test_a_url_that_cannot_be_one_is_named(shell: Shell, url: str) -> None:
    assert "is not a URL" in shell.run("templates", "list", exit_code=Exit.USAGE, DEPESCHE_URL=url).stderr


@pytest.mark.parametrize("status", [200, 404, 502])
def test_a_web_page_at_the_url_is_not_depesche(suite: ScriptedSuite, shell: Shell, status: int) -> None:
    page_ = (status, "<html>", {"content-type": "text/html; charset=utf-8"})
    suite.answers["GET", TEMPLATES] = lambda _: page_
    suite.answers["GET", f"{TEMPLATES}/a"] = lambda _: page_
    Path("a.yaml").write_text("name: a\n")

    assert "a web page" in shell.run("templates", "list", exit_code=Exit.UNREACHABLE).stderr.replace("\n", " ")
    shell.run("templates", "apply", "a.yaml", exit_code=Exit.UNREACHABLE)
    assert {method for method, *_ in suite.asked} == {"GET"}


def test_an_import_that_stopped_early_is_no_success(suite: ScriptedSuite, shell: Shell) -> None:
    counts = dict.fromkeys(("rows", "created", "changed", "unchanged", "refused"), 0)
    suite.on("POST", "/tokens/v1/imports", (200, {"id": "1", "state": "failed", "problem": "Not CSV.", **counts}))
    Path("a.csv").write_text("customer_id\n")

    assert "Not CSV." in shell.run("recipients", "import", "a.csv", exit_code=Exit.REFUSED).stdout


def test_a_change_whose_response_is_lost_is_not_sent_again() -> None:
    calls = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            nonlocal calls
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        calls += bool(connection.recv(1 << 16))

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(Unreachable):
            Api(f"http://127.0.0.1:{server.getsockname()[1]}", "k").put("/access/v1/topics/a", {})

    assert calls == 1


def test_a_redirect_says_where_to(suite: ScriptedSuite, shell: Shell) -> None:
    suite.answers["GET", TEMPLATES] = lambda _: (301, None, {"location": "https://x.example/"})

    assert "https://x.example/" in shell.run("templates", "list", exit_code=Exit.UNREACHABLE).stderr


def test_a_misspelt_kind_is_not_left_out_silently(suite: ScriptedSuite, shell: Shell) -> None:
    Path("a.yaml").write_text("kind: topic\nname: a\n---\nkind: tmplate\nname: b\n---\nkind: rule\nid: c\n")

    refused = shell.run("apply", "a.yaml", exit_code=Exit.USAGE)

    assert "a.yaml:4: There is no kind 'tmplate'" in refused.stderr
    assert suite.asked == []


def test_hidden_folders_contain_no_definitions(suite: ScriptedSuite, shell: Shell) -> None:
    for place in (Path(".depesche/x.yaml"), Path("b/.git/x.json"), Path("b/topic.yaml")):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("kind: topic\nname: a\n")
    suite.on("PUT", "/access/v1/topics/a", (201, {}))

    assert [outcome["file"] for outcome in shell.json("apply", ".")["outcomes"]] == ["b/topic.yaml:1"]


def test_an_error_in_the_middle_says_what_was_done_before_it(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("PUT", "/access/v1/topics/a", (201, {}))
    suite.on("PUT", "/access/v1/topics/b", (500, {"title": "Our side", "detail": "Logged."}))
    Path("a.yaml").write_text("kind: topic\nname: a\n---\nkind: topic\nname: b\n")

    assert "1 before it were done" in shell.run("apply", "a.yaml", exit_code=Exit.FAILED).stderr.replace("\n", " ")
    ended = shell.json("apply", "a.yaml", exit_code=Exit.FAILED)
    assert [outcome["name"] for outcome in ended["outcomes"]] == ["a"]


def test_a_publish_that_ends_in_the_middle_says_what_is_published(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("PUT", f"{TEMPLATES}/a", (201, {}))
    suite.on("PUT", f"{TEMPLATES}/b", (201, {}))
    suite.on("GET", TEMPLATES, page({"name": "a", "state": "draft"}, {"name": "b", "state": "draft"}))
    suite.on("POST", f"{TEMPLATES}/a:publish", (200, {"version": 1}))
    suite.on("POST", f"{TEMPLATES}/b:publish", (500, {"title": "Our side", "detail": "Logged."}))
    Path("t.yaml").write_text("kind: template\nname: a\n---\nkind: template\nname: b\n")

    ended = shell.json("apply", "t.yaml", "--publish", exit_code=Exit.FAILED)

    assert [item["name"] for item in ended["published"]] == ["a"]
    assert [item["name"] for item in ended["outcomes"]] == ["a", "b"]


def test_apply_publishes_only_what_its_files_define(suite: ScriptedSuite, shell: Shell) -> None:
    for path in (f"{TEMPLATES}/mine", f"{COMMUNICATIONS}/mine"):
        suite.on("PUT", path, (201, {}))
    suite.on("GET", TEMPLATES, page({"name": "mine", "state": "changed"}, {"name": "theirs", "state": "draft"}))
    users = [
        {"name": "mine", "state": "changed", "outdated": ["mine"]},
        {"name": "uses-mine", "state": "published", "outdated": ["mine"]},
        {"name": "edited-by-others", "state": "changed", "outdated": ["mine"]},
        {"name": "uses-theirs", "state": "published", "outdated": ["theirs"]},
    ]
    suite.on("GET", COMMUNICATIONS, page(*users))
    for path in (f"{TEMPLATES}/mine", f"{COMMUNICATIONS}/mine", f"{COMMUNICATIONS}/uses-mine"):
        suite.on("POST", f"{path}:publish", (200, {"version": 2}))
    Path("a.yaml").write_text("kind: template\nname: mine\n---\nkind: communication\nname: mine\n")

    done = shell.run("apply", "a.yaml", "--publish")

    published = [path for method, path, *_ in suite.asked if method == "POST"]
    assert published == [
        f"{TEMPLATES}/mine:publish",
        f"{COMMUNICATIONS}/mine:publish",
        f"{COMMUNICATIONS}/uses-mine:publish",
    ]
    assert "edited-by-others has other unpublished edits" in done.stderr.replace("\n", " ")


def test_nothing_is_published_if_a_definition_is_refused_and_that_is_said(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("PUT", f"{TEMPLATES}/a", (422, {"title": "Wrong", "errors": [{"pointer": "/channel", "detail": "No."}]}))
    Path("a.yaml").write_text("kind: template\nname: a\n")

    assert "Nothing was published" in shell.run("apply", "a.yaml", "--publish", exit_code=Exit.REFUSED).stderr


def test_a_templates_texts_are_shown(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", f"{TEMPLATES}/a", (200, {"name": "a", "channel": "sms", "locales": {"de": {"text": "[b]Hallo"}}}))

    assert "text: '[b]Hallo'" in shell.run("templates", "show", "a").stdout


def test_an_argument_that_is_no_text_is_refused(suite: ScriptedSuite, shell: Shell) -> None:
    """As from a terminal in Latin-1: Python carries the byte as a lone surrogate."""
    refused = shell.run("why", "--order", "B\udce9", exit_code=Exit.USAGE)

    assert "not UTF-8" in refused.stderr
    assert suite.asked == []


@pytest.mark.parametrize("words", [("--rules", "²"), ("--setting", "score_days=²")])
def test_a_digit_that_is_no_number_is_no_crash(suite: ScriptedSuite, shell: Shell, words: tuple[str, ...]) -> None:
    refused = shell.run("bounce", "replay", "--from", "1h", *words, exit_code=None)

    assert isinstance(refused.exception, SystemExit)


def test_a_key_for_longer_than_a_century_is_refused(suite: ScriptedSuite, shell: Shell) -> None:
    refused = shell.run("keys", "create", "x", "--scope", "admin", "--days", "99999999", exit_code=Exit.USAGE)

    assert "36500" in refused.stderr


def test_watching_ends_when_the_key_is_revoked(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", "/delivery/v1/statistics", (401, {"title": "Not authenticated", "detail": "Revoked."}))

    assert "Revoked." in shell.run("status", "--watch", exit_code=Exit.UNAUTHORISED).stderr


def test_a_script_reads_whether_a_timeline_is_complete(suite: ScriptedSuite, shell: Shell) -> None:
    entry = {"at": "2027-03-01T09:00:00Z", "source": "delivery", "text": "Accepted."}
    suite.on("GET", "/history/v1/timeline", (200, {"items": [entry], "complete": False, "next_cursor": None}))

    assert shell.json("timeline", "--order", "B-1") == {"items": [entry], "complete": False, "next_cursor": None}
    assert "are missing" in shell.run("timeline", "--order", "B-1").stdout


def test_a_preview_without_an_event_says_that_it_has_no_data(suite: ScriptedSuite, shell: Shell) -> None:
    problem = {
        "title": "The text cannot be rendered",
        "errors": [{"pointer": "/x", "detail": "event.data.a is missing."}],
    }
    suite.on("POST", f"{TEMPLATES}/a.push:preview", (422, problem))

    assert (
        "Without --event FILE or --event-type TYPE the event has no data"
        in shell.run("templates", "preview", "a.push", exit_code=1).stderr
    )
    Path("event.json").write_text("{}")
    assert "--event" not in shell.run("templates", "preview", "a.push", "--event", "event.json", exit_code=1).stderr
