"""One secret gives many keys that cannot stand in for one another; settings say where they came from."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from libs.errors import Invalid
from libs.keyring import Keyring, NotOpenable, keyring_of
from libs.settings import ServiceSettings, describe, load


class PostSettings(ServiceSettings):
    """A service's settings."""

    SECTION: ClassVar[str] = "post"
    timeout_seconds: float = Field(5.0, gt=0, description="Seconds to wait.")
    password: SecretStr = Field(SecretStr(""), description="The password.")


def test_keys_differ_by_purpose_and_are_stable() -> None:
    ring = Keyring(b"r" * 32)
    assert ring.key("verp") == Keyring(b"r" * 32).key("verp")
    assert ring.key("verp") != ring.key("links")


def test_sealed_data_open_only_where_they_belong() -> None:
    ring = Keyring(b"r" * 32)
    sealed = ring.seal("seal", b"one-time code 4711", b"request-1")
    assert ring.open("seal", sealed, b"request-1") == b"one-time code 4711"
    for purpose, context in (("seal", b"request-2"), ("credentials", b"request-1")):
        with pytest.raises(NotOpenable):
            ring.open(purpose, sealed, context)
    with pytest.raises(NotOpenable):
        ring.open("seal", b"short")


def test_a_folder_keeps_its_secret_to_itself(tmp_path: Path) -> None:
    first = keyring_of(tmp_path)
    assert keyring_of(tmp_path).key("x") == first.key("x")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text('[post]\ntimeout_seconds = 7\npassword = "hush"\n')
    assert load(PostSettings, file).timeout_seconds == 7
    monkeypatch.setenv("DEPESCHE_POST_TIMEOUT_SECONDS", "9")
    assert load(PostSettings, file).timeout_seconds == 9
    shown = {d.name: (d.value, d.origin) for d in describe([PostSettings], file)}
    assert shown["DEPESCHE_POST_TIMEOUT_SECONDS"] == ("9.0", "environment")
    assert shown["DEPESCHE_POST_PASSWORD"] == ("********", "file")


def test_variables_without_our_prefix_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEOUT_SECONDS", "99")
    assert load(PostSettings).timeout_seconds == 5


@pytest.mark.parametrize("line", ["timeout_seconds = -1", 'timeout_seconds = "soon"', "time_out = 3", "= 3"])
def test_a_wrong_setting_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text(f"[post]\n{line}\n")
    with pytest.raises(Invalid) as refused:
        load(PostSettings, file)
    assert "DEPESCHE_POST_TIME" in str(refused.value.errors) or "TOML" in refused.value.detail
