"""Senders from the command line and from files, against the real delivery: secrets go in by reference, never out."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli.exits import Exit
from cli.senders import SECRET_FIELDS
from libs.auth import Principal
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from services.delivery.app import create_service
from services.delivery.domain.sender_accounts import SECRETS
from tests.flows.scripted_suite import KEY
from tests.shell import Shell, mounted, serving

RELAY = (
    "--name", "Shop, mail", "--channel", "email", "--account", "host=relay.example", "--account", "port=587",
    "--account", "username=shop", "--account", "from_address=shop@shop.example",
    "--account", "return_path_domain=bounce.shop.example", "--rate", "50",
)  # fmt: skip
FILE = """
kind: sender
number: 2
name: Shop, mail
channel: email
rate_per_second: 0.5
account:
  host: relay.example
  port: 587
  username: shop
  password: ${RELAY_PASSWORD}
  from_address: shop@shop.example
  return_path_domain: bounce.shop.example
  timeout_seconds: 7.5
---
kind: sender
number: 3
name: Partners
channel: webhook
account:
  secrets: ["${HOOK}", "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2s="]
"""
HOOK = "whsec_b2tra2tra2tra2tra2tra2tra2tra2tra2s="
SET = {"RELAY_PASSWORD": "geheim", "HOOK": HOOK}


@pytest.fixture
async def shell(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    async def ask(_: str) -> Principal:
        return Principal(1, Mode.LIVE, "key-1", frozenset({"delivery:read", "delivery:operate"}))

    runtime.keys.ask = ask
    service = create_service(runtime)

    monkeypatch.chdir(tmp_path)
    with serving(mounted(service)) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


async def stored(runtime: Runtime, number: int) -> Any:
    """Return the sender with its secrets, as a worker reads it."""
    service = create_service(runtime)
    async with service.running():
        return await service.deps.operations.sender((1, Mode.LIVE), number)


async def test_a_sender_is_made_with_a_secret_from_the_environment_and_changed(shell: Shell, runtime: Runtime) -> None:
    made = shell.json("senders", "set", "2", *RELAY, "--secret", "password=env:RELAY", RELAY="geheim")
    assert (made["number"], made["account"]["port"], made["secrets"]) == (2, 587, ["password"])
    changed = shell.json("senders", "set", "2", "--account", "port=25", "--rate", "0")
    assert (changed["name"], changed["account"]["host"], changed["version"]) == ("Shop, mail", "relay.example", 2)
    assert (changed["account"]["port"], changed["rate_per_second"], changed["secrets"]) == (25, None, ["password"])
    assert (await stored(runtime, 2)).secrets == {"password": "geheim"}


async def test_a_secret_from_a_file_is_masked_wherever_it_is_shown(
    shell: Shell, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("geheim\n")
    words = ("senders", "set", "2", *RELAY, "--secret", "password=file:password")
    shown = [shell.run(*words).output, shell.run("senders", "show", "2").output, shell.run("senders", "list").output]
    shown.append(json.dumps(shell.json("senders", "show", "2")))
    assert "••••" in shown[1]
    assert "relay.example" in shown[1]
    assert not any("geheim" in text for text in shown)
    assert (await stored(runtime, 2)).secrets == {"password": "geheim"}


async def test_a_secret_on_the_command_line_is_refused_and_not_repeated(shell: Shell) -> None:
    for words in (("--secret", "password=geheim"), ("--account", "password=geheim"), ("--secret", "geheim")):
        refused = shell.run("senders", "set", "2", *RELAY, *words, exit_code=Exit.USAGE)
        assert "geheim" not in refused.output
    assert shell.json("senders", "list") == []


async def test_scripts_can_tell_what_was_wrong(shell: Shell) -> None:
    for words, code, said in (
        (("show", "9"), Exit.NOT_FOUND, "no sender 9"),
        (("set", "9", "--name", "x"), Exit.USAGE, "--channel"),
        (("set", "9", *RELAY), Exit.REFUSED, "/account/password"),
        (("set", "9", *RELAY, "--secret", "password=env:NOT_SET_ANYWHERE"), Exit.USAGE, "NOT_SET_ANYWHERE"),
        (("set", "9", *RELAY, "--secret", "password=file:nowhere"), Exit.USAGE, "nowhere"),
        (("set", "9", *RELAY, "--simulator"), Exit.USAGE, "--account"),
        (("set", "70000", *RELAY), Exit.USAGE, "32767"),
    ):
        result = shell.run("senders", *words, exit_code=code)
        assert said in result.stderr, (words, result.stderr)
    shell.run("senders", "set", "4", "--name", "Trial", "--channel", "push")
    assert shell.run("senders", "set", "4", "--channel", "email", exit_code=Exit.CONFLICT)


async def test_a_sender_goes_to_the_simulator_and_back(shell: Shell) -> None:
    hook = ("--channel", "webhook", "--secret", "secrets=env:A", "--secret", "secrets=env:B")
    made = shell.json("senders", "set", "3", "--name", "Partners", *hook, A=HOOK, B=HOOK)
    assert (made["provider"], made["secrets"]) == ("provider", ["secrets"])
    assert shell.json("senders", "set", "3", "--simulator")["provider"] == "simulator"
    assert shell.json("senders", "set", "3", "--name", "Still there")["provider"] == "simulator"


async def test_a_vendors_keys_are_given_by_reference_and_its_url_is_shown(shell: Shell, runtime: Runtime) -> None:
    keys = ("--secret", "webhook_keys=env:NEW", "--secret", "webhook_keys=env:OLD", "--secret", "password=env:RELAY")
    given = {"NEW": "new key of some length", "OLD": "old key of some length", "RELAY": "geheim"}
    made = shell.json("senders", "set", "2", *RELAY, "--account", "vendor=mailgun", *keys, **given)
    assert made["webhook_url"].endswith("/delivery/v1/callbacks/mailgun?tenant=1&mode=live&sender=2")
    assert made["secrets"] == ["password", "webhook_keys"]
    assert (await stored(runtime, 2)).secrets["webhook_keys"] == [given["NEW"], given["OLD"]]
    changed = shell.json("senders", "set", "2", "--account", "port=25")
    assert (changed["account"]["vendor"], changed["secrets"]) == ("mailgun", ["password", "webhook_keys"])
    assert "key of some length" not in shell.run("senders", "show", "2").output


async def test_senders_are_applied_from_files_and_the_same_ones_left_alone(
    shell: Shell, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "senders.yaml").write_text(FILE)

    def results(*words: str, **changes: str) -> list[str]:
        return [o["result"] for o in shell.json(*words, "senders.yaml", **{**SET, **changes})["outcomes"]]

    assert results("apply", "--dry-run") == ["created", "created"]
    assert results("apply") == ["created", "created"]
    assert results("apply") == results("senders", "apply") == results("apply", "--dry-run") == ["unchanged"] * 2
    assert results("apply", RELAY_PASSWORD="new") == ["changed", "unchanged"]
    assert (await stored(runtime, 2)).secrets == {"password": "new"}
    (tmp_path / "senders.yaml").write_text(FILE.replace("port: 587", "port: 25"))
    assert results("apply", "--dry-run", RELAY_PASSWORD="new") == ["changed", "unchanged"]
    assert results("apply", RELAY_PASSWORD="new") == ["changed", "unchanged"]
    shown = shell.json("senders", "show", "2")
    assert (shown["version"], shown["account"]["port"], shown["rate_per_second"]) == (3, 25, 0.5)


async def test_applying_the_same_sender_again_leaves_no_trace_in_the_audit(
    shell: Shell, database: str, tmp_path: Path
) -> None:
    (tmp_path / "senders.yaml").write_text(FILE)
    for _ in range(3):
        shell.run("apply", "senders.yaml", **SET)
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("select count(*) from delivery.outbox") == 2
    finally:
        await connection.close()


async def test_what_is_wrong_in_a_file_is_named_with_its_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "senders.yaml").write_text(FILE.replace("port: 587", "port: 0"))
    missing = shell.run("apply", "senders.yaml", exit_code=Exit.USAGE, HOOK=HOOK)
    assert "senders.yaml:11" in missing.stderr
    assert "RELAY_PASSWORD" in missing.stderr
    refused = shell.run("apply", "senders.yaml", exit_code=Exit.REFUSED, **SET)
    assert "senders.yaml:9 /account/port" in refused.stderr
    assert "geheim" not in refused.output


def test_the_command_line_and_delivery_agree_on_what_is_secret() -> None:
    assert frozenset(name for names in SECRETS.values() for name in names) == SECRET_FIELDS
