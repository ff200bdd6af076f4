"""The key that `up` leaves is found from where people work, and read by nobody else."""

import stat
from pathlib import Path

import pytest

from libs import credentials
from libs.contracts.outcomes import Mode
from libs.credentials import Credentials
from libs.errors import Invalid


def put(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / credentials.FILE_NAME
    credentials.write(path, Credentials("http://127.0.0.1:8700", {Mode.LIVE: "dp_live_x", Mode.TEST: "dp_test_x"}))
    return path


def test_what_is_written_reads_back_and_only_its_owner_may_read(tmp_path: Path) -> None:
    path = put(tmp_path)
    found = credentials.read(path)
    assert found == Credentials("http://127.0.0.1:8700", {Mode.LIVE: "dp_live_x", Mode.TEST: "dp_test_x"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [credentials.FILE_NAME]


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_cannot(tmp_path: Path) -> None:
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


def test_a_named_folder_without_a_file_is_not_replaced_by_another(tmp_path: Path) -> None:
    put(tmp_path / ".depesche")
    assert credentials.find({"DEPESCHE_DATA_DIR": str(tmp_path / "empty")}, tmp_path, tmp_path) is None


@pytest.mark.parametrize("content", [b"url = ", b"\xff\xfe", b"[["])
def test_a_broken_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / credentials.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(Invalid, match="depesche up"):
        credentials.read(path)


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert credentials.read(tmp_path / "none" / credentials.FILE_NAME) is None
