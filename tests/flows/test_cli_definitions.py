"""Definitions from files: applied, published, exported, and refused with file and line."""

import hashlib
import json
from pathlib import Path

from cli.exits import Exit
from tests.flows.scripted_suite import ScriptedSuite
from tests.shell import Shell

TYPES = "/orders-notification/v1/event-types"


def test_apply_creates_changes_and_leaves_alone(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    held = {"type": "b", "version": 3, "description": "B", "schema": {"type": "object"}, "updated_at": "2027"}
    suite.on("GET", f"{TYPES}/b", (200, held))
    suite.answers["GET", f"{TYPES}/c"] = lambda _: (200, {**held, "type": "c"}, {"etag": '"3"'})
    for name in "ac":
        suite.on("PUT", f"{TYPES}/{name}", (200, {}))
    (tmp_path / "types.yaml").write_text(
        "name: a\n---\nname: b\ndescription: B\nschema:\n  type: object\n---\ntype: c\ndescription: C\n"
    )
    outcomes = shell.json("event-types", "apply", "types.yaml")["outcomes"]
    assert [(o["name"], o["result"]) for o in outcomes] == [("a", "created"), ("b", "unchanged"), ("c", "changed")]
    written = [(path, headers.get("if-match")) for method, path, headers, _ in suite.asked if method == "PUT"]
    assert written == [(f"{TYPES}/a", None), (f"{TYPES}/c", '"3"')]  # nobody's edit of meanwhile is overwritten


def test_what_cannot_be_read_is_not_taken_for_new(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    suite.on("GET", f"{TYPES}/a", (500, {"title": "Our side", "detail": "Logged."}))
    (tmp_path / "types.yaml").write_text("name: a\n")
    shell.run("event-types", "apply", "types.yaml", exit_code=Exit.FAILED)
    assert [method for method, _, _, _ in suite.asked] == ["GET"]


def test_a_dry_run_sends_nothing(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text("name: a\n")
    assert shell.json("event-types", "apply", "types.yaml", "--dry-run")["outcomes"][0]["result"] == "created"
    assert {method for method, _, _, _ in suite.asked} == {"GET"}


def test_what_the_suite_refuses_is_shown_with_file_and_line(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    errors = [{"pointer": "/schema/type", "detail": "There is no type 'objekt'."}]
    suite.on("PUT", f"{TYPES}/a", (422, {"title": "Some fields are not valid", "errors": errors}))
    suite.on("PUT", f"{TYPES}/b", (201, {}))
    (tmp_path / "types.yaml").write_text("name: a\nschema:\n  type: objekt\n---\nname: b\n")
    result = shell.run("event-types", "apply", "types.yaml", exit_code=Exit.REFUSED)
    assert "types.yaml:3 /schema/type" in result.stderr
    assert "created" in result.stdout


def test_files_are_all_read_before_anything_is_sent(suite: ScriptedSuite, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text("name: a\n")
    (tmp_path / "2.yaml").write_text("name: [\n")
    result = shell.run("event-types", "apply", ".", exit_code=Exit.USAGE)
    assert "2.yaml:" in result.stderr
    assert suite.asked == []


def test_secrets_come_from_the_environment_and_unchanged_ones_are_recognised(
    suite: ScriptedSuite, shell: Shell, tmp_path: Path
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


TEMPLATES = "/templates/v1/templates"
REFUSED = {
    "title": "Some fields are not valid",
    "errors": [
        {"pointer": "/locales/de/title", "detail": "There is no variable 'recipient.nam'."},
        {"pointer": "/locales/en/body", "detail": "It is missing."},
    ],
}


def test_publishing_goes_on_after_a_refusal_and_tells_every_problem(suite: ScriptedSuite, shell: Shell) -> None:
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


def test_communications_that_use_newer_templates_are_published_too(suite: ScriptedSuite, shell: Shell) -> None:
    path = "/orders-notification/v1/communications"
    page = {"items": [{"name": "a", "state": "published"}], "next_cursor": None}
    suite.on("GET", path, (200, page))
    suite.on("POST", f"{path}/a:publish", (200, {"version": 2}))
    assert shell.json("communications", "publish", "--all") == [{"name": "a", "result": "published", "version": 2}]


def test_what_is_sent_otherwise_than_one_might_expect_is_told_when_it_is_published(
    suite: ScriptedSuite, shell: Shell
) -> None:
    notice = "by push no provider can be asked"
    suite.on("POST", "/orders-notification/v1/communications/a:publish", (200, {"version": 2, "notices": [notice]}))
    assert notice in " ".join(shell.run("communications", "publish", "a").stdout.split())
    assert shell.json("communications", "publish", "a")[0]["notices"] == [notice]


def test_what_is_to_be_published_must_be_said(shell: Shell) -> None:
    for words in ((), ("a", "--all")):
        assert "--all" in shell.run("templates", "publish", *words, exit_code=Exit.USAGE).stderr


def test_what_is_exported_can_be_applied_and_changes_nothing(suite: ScriptedSuite, shell: Shell) -> None:
    body = {"channel": "sms", "description": "", "locales": {"de": {"text": "Code: {{ event.data.code }}\nDanke"}}}
    held = {"name": "code.sms", **body, "state": "published", "version": 4, "published": 3, "changed_at": "2027"}
    suite.on("GET", TEMPLATES, (200, {"items": [held], "next_cursor": None}))
    suite.on("GET", f"{TEMPLATES}/code.sms", (200, held))
    shell.run("templates", "export", "-o", "out.yaml")
    assert "text: |" in Path("out.yaml").read_text()
    assert shell.json("templates", "apply", "out.yaml")["outcomes"][0]["result"] == "unchanged"


def test_one_command_applies_and_publishes_a_whole_folder_in_order(
    suite: ScriptedSuite, shell: Shell, tmp_path: Path
) -> None:
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
