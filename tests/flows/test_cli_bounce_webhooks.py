"""`depesche bounce webhooks`, `mails` and `reclassify` against a scripted suite."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from services.bounce.api.shapes import MailShown
from services.bounce.api.webhook_shapes import AttemptShown, WebhookMade, WebhookShown
from tests.flows.scripted_suite import KEY, ScriptedSuite
from tests.shell import Shell, serving

PATH = "/bounce/v1/webhooks"
MAILS = "/bounce/v1/mails"


def example(model: Any) -> dict[str, Any]:
    """Return the service's documented example."""
    return dict(model.model_config["json_schema_extra"]["examples"][0])


WEBHOOK, MADE, ATTEMPT, MAIL = map(example, (WebhookShown, WebhookMade, AttemptShown, MailShown))
ID = WEBHOOK["id"]
ONE = f"{PATH}/{ID}"


@pytest.fixture
def suite() -> ScriptedSuite:
    return ScriptedSuite()


@pytest.fixture
def shell(suite: ScriptedSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    with serving(suite) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


def asked(suite: ScriptedSuite) -> tuple[str, str, Any]:
    """Return the last request."""
    method, path, _, body = suite.asked[-1]
    return method, path, json.loads(body) if body else None


def test_a_webhook_is_set_up_for_everything_and_its_secret_shown_once(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("POST", PATH, (201, MADE))
    shown = shell.run("bounce", "webhooks", "create", "https://crm.example/hooks", "--note", "list hygiene").stdout
    assert MADE["secret"] in shown
    kinds = ["bounce.classified", "suppression.changed"]
    body = {"url": "https://crm.example/hooks", "kinds": kinds, "note": "list hygiene", "enabled": True}
    assert asked(suite) == ("POST", PATH, body)
    shell.run("bounce", "webhooks", "create", "https://crm.example/hooks", "--kind", "suppression.changed")
    assert asked(suite)[2]["kinds"] == ["suppression.changed"]
    suite.on("POST", f"{ONE}:rotate", (200, MADE))
    assert MADE["secret"] in shell.run("bounce", "webhooks", "rotate", ID).stdout


def test_webhooks_are_listed_with_how_it_goes(suite: ScriptedSuite, shell: Shell) -> None:
    ill = WEBHOOK | {"disabled_for": "failing", "enabled": False, "given_up": 12}
    suite.on("GET", PATH, (200, {"items": [WEBHOOK, ill], "next_cursor": None}))
    shown = shell.run("bounce", "webhooks", "list").stdout
    assert "fine" in shown
    assert "disabled: failing" in shown
    suite.on("GET", ONE, (200, WEBHOOK))
    assert shell.json("bounce", "webhooks", "show", ID) == WEBHOOK
    suite.on("GET", f"{ONE}/attempts", (200, {"items": [ATTEMPT], "next_cursor": None}))
    assert "try later" in shell.run("bounce", "webhooks", "log", ID).stdout


def test_a_change_is_made_of_the_version_that_was_read_and_leaves_the_rest(suite: ScriptedSuite, shell: Shell) -> None:
    suite.answers["GET", ONE] = lambda _: (200, WEBHOOK | {"enabled": False}, {"etag": '"3"'})
    suite.on("PUT", ONE, (200, WEBHOOK))
    shell.run("bounce", "webhooks", "change", ID, "--enable")
    assert asked(suite) == ("PUT", ONE, {name: WEBHOOK[name] for name in ("url", "kinds", "note")} | {"enabled": True})
    assert suite.asked[-1][2]["if-match"] == '"3"'
    shell.run("bounce", "webhooks", "change", ID, exit_code=Exit.USAGE)


def test_a_trial_that_fails_is_an_exit_code(suite: ScriptedSuite, shell: Shell) -> None:
    came = {"delivered": False, "status": 503, "error": "try later", "milliseconds": 41}
    suite.on("POST", f"{ONE}:test", (200, came), (200, came | {"delivered": True, "status": 204, "error": None}))
    assert "try later" in shell.run("bounce", "webhooks", "test", ID, exit_code=Exit.REFUSED).stdout
    shell.run("bounce", "webhooks", "test", ID)


def test_what_was_given_up_is_told_again(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("POST", f"{ONE}:redeliver", (200, {"count": 1_188}))
    shown = shell.run("bounce", "webhooks", "redeliver", ID, "--since", "2027-03-01T08:00:00Z", "--delivered").stdout
    assert "1,188 events" in shown
    assert asked(suite)[2] == {"since": "2027-03-01T08:00:00Z", "delivered": True, "events": []}


def test_a_webhook_is_removed_only_where_that_is_meant(suite: ScriptedSuite, shell: Shell) -> None:
    suite.answers["GET", ONE] = lambda _: (200, WEBHOOK, {"etag": '"3"'})
    suite.on("DELETE", ONE, (200, None))
    shell.run("bounce", "webhooks", "delete", ID, exit_code=Exit.USAGE)
    assert [method for method, *_ in suite.asked] == ["GET"]
    shell.run("bounce", "webhooks", "delete", ID, "--yes")
    assert (suite.asked[-1][0], suite.asked[-1][2]["if-match"]) == ("DELETE", '"3"')
    shell.run("bounce", "webhooks", "delete", "another", "--yes", exit_code=Exit.NOT_FOUND)


def test_mails_are_listed_and_read_again(suite: ScriptedSuite, shell: Shell) -> None:
    suite.on("GET", MAILS, (200, {"items": [MAIL], "next_cursor": None}))
    assert MAIL["message"] in shell.run("bounce", "mails", "--outcome", "unknown-user", "--limit", "5").stdout
    suite.on("POST", f"{MAILS}:reclassify", (200, {"count": 1_204, "preview": True}))
    since = ("--since", "2027-03-01T00:00:00Z")
    assert "1,204 mails would be" in shell.run("bounce", "reclassify", *since, "--preview").stdout
    assert asked(suite)[2] == {"since": "2027-03-01T00:00:00Z", "preview": True}
    suite.on("POST", f"{MAILS}/{MAIL['id']}:reclassify", (202, MAIL | {"state": "waiting"}))
    assert "waiting" in shell.run("bounce", "reclassify", MAIL["id"]).stdout
    for wrong in ((), (MAIL["id"], *since), ("--outcome", "undetermined"), (MAIL["id"], "--preview")):
        shell.run("bounce", "reclassify", *wrong, exit_code=Exit.USAGE)
