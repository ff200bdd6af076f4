"""The command line against the real access service on a real socket."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cli.exits import Exit
from libs import credentials
from libs.service import Runtime
from libs.service_client import AsgiTransport, Transport
from services.access.app import create_service, ensure_first
from tests.shell import Shell, mounted, serving


@pytest.fixture
async def shell(
    database: str,
    make_runtime: Callable[[str], Runtime],
    transports: dict[str, Transport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Shell]:
    service = create_service(make_runtime(database))
    transports["access"] = AsgiTransport(lambda: service.app)
    await ensure_first(service.runtime)
    for name in ("DEPESCHE_URL", "DEPESCHE_KEY", "DEPESCHE_MODE", "DEPESCHE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    with serving(mounted(service)) as url:
        path = tmp_path / credentials.FILE_NAME
        found = credentials.read(path)
        assert found is not None
        credentials.write(path, credentials.Credentials(url, found.keys))
        yield Shell({"DEPESCHE_DATA_DIR": str(tmp_path)})


async def test_the_key_that_up_left_is_found_by_itself(shell: Shell) -> None:
    assert [tenant["name"] for tenant in shell.json("tenants", "list")] == ["default"]


async def test_a_tenant_is_made_and_changed(shell: Shell) -> None:
    made = shell.json("tenants", "create", "Nordlicht", "--default-locale", "de", "--zone", "Europe/Berlin")
    assert (made["number"], made["default_locale"]) == (2, "de")
    changed = shell.json("tenants", "change", "2", "--name", "Südlicht")
    assert (changed["name"], changed["default_locale"], changed["version"]) == ("Südlicht", "de", 2)
    assert "Südlicht" in shell.run("tenants", "list").stdout


async def test_a_topic_is_set_and_set_again(shell: Shell) -> None:
    shell.run("topics", "set", "price-alerts", "--description", "A price fell")
    again = shell.json("topics", "set", "price-alerts", "--no-active")
    assert (again["description"], again["active"], again["version"]) == ("A price fell", False, 2)
    assert shell.json("topics", "set", "price-alerts", "--category", "transactional", exit_code=Exit.CONFLICT)


async def test_a_key_lives_from_create_to_revoke(shell: Shell) -> None:
    made = shell.json("keys", "create", "shop", "--scope", "topics:read", "--days", "30")
    own = {"DEPESCHE_KEY": made["key"]}
    assert shell.json("topics", "list", **own) == []
    new = shell.json("keys", "rotate", made["id"], "--grace-hours", "1")
    assert new["replaces"] == made["id"]
    assert shell.json("keys", "revoke", new["id"])["state"] == "revoked"
    assert new["id"] not in [key["id"] for key in shell.json("keys", "list")]
    assert new["id"] in [key["id"] for key in shell.json("keys", "list", "--all")]


async def test_a_new_key_is_shown_once_and_says_so(shell: Shell) -> None:
    result = shell.run("keys", "create", "shop", "--scope", "events:send")
    assert "dp_live_" in result.stdout
    assert "will not be shown again" in result.stdout
    assert "dp_live_" not in shell.run("keys", "list").stdout


async def test_the_mode_chooses_the_key(shell: Shell) -> None:
    shell.run("topics", "set", "trial", "--mode", "test")
    assert shell.json("topics", "list") == []
    assert [topic["name"] for topic in shell.json("topics", "list", "--mode", "test")] == ["trial"]


async def test_what_is_wrong_is_named_with_field_and_way_out(shell: Shell) -> None:
    result = shell.run("tenants", "create", "x", "--zone", "Mars", exit_code=Exit.REFUSED)
    assert "/zone" in result.stderr
    assert "Europe/Berlin" in result.stderr
    assert result.stdout == ""
    document = shell.json("tenants", "create", "x", "--zone", "Mars", exit_code=Exit.REFUSED)
    assert document["errors"][0]["pointer"] == "/zone"


async def test_exit_codes_tell_scripts_what_happened(shell: Shell) -> None:
    weak = shell.json("keys", "create", "weak", "--scope", "topics:read")["key"]
    for words, key, code in (
        (("keys", "revoke", "aaaaaaaaaaaaaaaa"), "", Exit.NOT_FOUND),
        (("tenants", "create", "default"), "", Exit.CONFLICT),
        (("tenants", "list"), "dp_live_nonsense", Exit.UNAUTHORISED),
        (("keys", "list"), weak, Exit.UNAUTHORISED),
        (("tenants", "list", "--mode", "prod"), "", Exit.USAGE),
        (("tenants", "list", "--colour"), "", Exit.USAGE),
    ):
        assert shell.run(*words, exit_code=None, DEPESCHE_KEY=key).exit_code == code, words


async def test_a_suite_that_is_not_there_is_said_with_the_way_out(shell: Shell) -> None:
    result = shell.run("tenants", "list", "--url", "http://127.0.0.1:9", exit_code=Exit.UNREACHABLE, DEPESCHE_KEY="k")
    assert "depesche up" in result.stderr


async def test_a_found_key_is_not_sent_to_another_address(shell: Shell) -> None:
    result = shell.run("tenants", "list", "--url", "http://127.0.0.1:9", exit_code=Exit.UNAUTHORISED)
    assert "DEPESCHE_KEY" in result.stderr
