"""The key that `up` writes is found from the working folder, and readable only by its owner."""

import stat
from pathlib import Path

import pytest

from cli.session import open_session
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.credentials import Credentials
from libs.errors import Invalid


def put(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / credentials.FILE_NAME
    credentials.write(path, Credentials("http://127.0.0.1:8700", {Mode.LIVE: "dp_live_x", Mode.TEST: "dp_test_x"}))
    return path


def test_credentials_round_trip_and_are_private(tmp_path: Path) -> None:
    path = put(tmp_path)
    found = credentials.read(path)
    assert found == Credentials("http://127.0.0.1:8700", {Mode.LIVE: "dp_live_x", Mode.TEST: "dp_test_x"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [credentials.FILE_NAME]


def test_a_file_readable_by_others_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / credentials.FILE_NAME
    path.write_text("")
    path.chmod(0o644)
    put(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_nearest_file_wins(tmp_path: Path) -> None:
    deep = tmp_path / "shop" / "mails"
    deep.mkdir(parents=True)
    home = put(tmp_path / "home" / ".config" / "depesche")
    assert credentials.find({}, deep, tmp_path / "home") == home
    above = put(tmp_path / ".depesche")
    assert credentials.find({}, deep, tmp_path / "home") == above
    beside = put(deep / ".depesche")
    assert credentials.find({}, deep, tmp_path / "home") == beside
    named = put(tmp_path / "elsewhere")
    assert credentials.find({"DEPESCHE_DATA_DIR": str(named.parent)}, deep, tmp_path / "home") == named


def test_a_named_folder_without_a_file_has_no_fallback(tmp_path: Path) -> None:
    put(tmp_path / ".depesche")
    assert credentials.find({"DEPESCHE_DATA_DIR": str(tmp_path / "empty")}, tmp_path, tmp_path) is None


@pytest.mark.parametrize("content", [b"url = ", b"\xff\xfe", b"[["])
def test_a_malformed_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / credentials.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(Invalid, match="depesche up"):
        credentials.read(path)


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    assert credentials.read(tmp_path / "none" / credentials.FILE_NAME) is None


def test_a_key_from_a_file_goes_to_its_own_suite_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPESCHE_KEY", raising=False)
    monkeypatch.setenv("DEPESCHE_DATA_DIR", str(put(tmp_path / "suite").parent))
    asked = [(None, "live"), ("http://127.0.0.1:8700/", "test"), ("https://elsewhere.example", "live")]
    keys = [open_session(as_json=True, url=url, mode=mode).key for url, mode in asked]
    assert keys == ["dp_live_x", "dp_test_x", None]
