"""`depesche settings` shows effective values and their origin, and no secret."""

from pathlib import Path

import pytest

from cli.exits import Exit
from cli.local import settings_classes, unit
from tests.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell({"DEPESCHE_DATA_DIR": str(tmp_path)})


def test_every_value_names_its_origin(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "depesche.toml").write_text("port = 8801\n[access]\nrotation_grace_hours = 48\n")
    document = shell.json("settings", DEPESCHE_WORKERS="3")
    found = {one["name"]: one for one in document["settings"]}
    assert (found["DEPESCHE_PORT"]["value"], found["DEPESCHE_PORT"]["origin"]) == ("8801", "file")
    assert (found["DEPESCHE_WORKERS"]["value"], found["DEPESCHE_WORKERS"]["origin"]) == ("3", "environment")
    grace = found["DEPESCHE_ACCESS_ROTATION_GRACE_HOURS"]
    assert (grace["value"], grace["unit"], grace["origin"]) == ("48.0", "hours", "file")
    assert found["DEPESCHE_HOST"]["origin"] == "default"
    assert document["file"].endswith("depesche.toml")


def test_secrets_are_masked(shell: Shell) -> None:
    for form in ((), ("--json",)):
        shown = shell.run("settings", *form, DEPESCHE_DSN="postgresql://me:hush@db/x").stdout
        assert "hush" not in shown
        assert "********" in shown


@pytest.mark.parametrize("words", [("migrate",), ("first-keys",), ("up", "--port", "1")])
def test_what_is_no_address_of_a_database_is_refused(shell: Shell, words: tuple[str, ...]) -> None:
    refused = shell.run(*words, "--dsn", "hush@db/x", exit_code=Exit.USAGE)
    assert "postgresql://user@host/database" in " ".join(refused.stderr.split())
    assert "hush" not in refused.stderr


def test_the_doctor_reports_what_is_no_address_of_a_database(shell: Shell) -> None:
    found = shell.json("doctor", "--dsn", "hush@db/x", exit_code=Exit.REFUSED)
    assert [one["check"] for one in found["findings"] if one["state"] == "wrong"] == ["postgres"]


def test_a_misspelt_variable_is_noticed(shell: Shell) -> None:
    found = shell.json(
        "doctor", exit_code=None, DEPESCHE_DELIVERY_LEASE_SECOND="3", DEPESCHE_KAFKA_BROKERS="kafka:9092"
    )
    (warning,) = [one for one in found["findings"] if one["check"] == "settings" and one["state"] == "warning"]
    assert "nothing reads DEPESCHE_DELIVERY_LEASE_SECOND." in warning["found"]
    assert "'DEPESCHE_DELIVERY_LEASE_SECONDS'" in warning["found"]


def test_an_invalid_value_is_named_by_its_variable(shell: Shell) -> None:
    result = shell.run("settings", exit_code=Exit.USAGE, DEPESCHE_PORT="many")
    assert "DEPESCHE_PORT" in result.stderr


@pytest.mark.parametrize("zone", ["Europe/Berln", "", "../UTC"])
def test_an_unknown_zone_of_quiet_hours_is_refused(shell: Shell, zone: str) -> None:
    result = shell.run("settings", "tokens", exit_code=Exit.USAGE, DEPESCHE_TOKENS_DEFAULT_ZONE=zone)
    assert "DEPESCHE_TOKENS_DEFAULT_ZONE" in result.stderr


def test_output_can_be_limited_to_a_section_or_to_changes(shell: Shell) -> None:
    changed = shell.json("settings", "suite", "--changed", DEPESCHE_PORT="9")["settings"]
    assert {one["name"] for one in changed} == {"DEPESCHE_DATA_DIR", "DEPESCHE_PORT"}
    assert all(one["section"] == "access" for one in shell.json("settings", "access")["settings"])


def test_every_setting_has_a_description() -> None:
    for cls in settings_classes():
        for name, field in cls.model_fields.items():
            assert field.description, f"{cls.__name__}.{name}"
            assert field.description.endswith("."), f"{cls.__name__}.{name}"


def test_units_are_read_from_names() -> None:
    assert unit("DEPESCHE_X_COMMIT_WINDOW_MILLISECONDS") == "milliseconds"
    assert unit("DEPESCHE_X_TIMEOUT_SECONDS") == "seconds"
    assert unit("DEPESCHE_X_WORKERS") == ""
