"""One secret yields many keys that cannot replace one another; settings record where they came from."""

import subprocess
import sys
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


def test_sealed_data_opens_only_for_its_purpose_and_context() -> None:
    ring = Keyring(b"r" * 32)
    sealed = ring.seal("seal", b"one-time code 4711", b"request-1")
    assert ring.open("seal", sealed, b"request-1") == b"one-time code 4711"
    for purpose, context in (("seal", b"request-2"), ("credentials", b"request-1")):
        with pytest.raises(NotOpenable):
            ring.open(purpose, sealed, context)
    with pytest.raises(NotOpenable):
        ring.open("seal", b"short")


_PARENT_AND_CHILD = """
import os
from libs.keyring import Keyring
ring = Keyring(b"r" * 32)
ring.seal("seal", b"")
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b"".join(ring.seal("seal", b"")[:12] for _ in range(100)))
    os._exit(0)
os.wait()
print((os.read(reader, 1200) + b"".join(ring.seal("seal", b"")[:12] for _ in range(600))).hex())
"""


def test_no_nonce_is_used_twice_even_by_a_forked_process() -> None:
    told = subprocess.run([sys.executable, "-c", _PARENT_AND_CHILD], capture_output=True, text=True, check=True)
    drawn = bytes.fromhex(told.stdout)
    nonces = [drawn[at : at + 12] for at in range(0, len(drawn), 12)]
    assert len(nonces) == len(set(nonces)) == 700


def test_a_folder_keeps_its_secret_private(tmp_path: Path) -> None:
    first = keyring_of(tmp_path)
    assert keyring_of(tmp_path).key("x") == first.key("x")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text('[post]\ntimeout_seconds = 7\npassword = "hush"\n')
    assert load(PostSettings, file).timeout_seconds == 7
    monkeypatch.setenv("DEPESCHE_POST_TIMEOUT_SECONDS", "9")
    assert load(PostSettings, file).timeout_seconds == 9
    shown = {d.name: (d.value, d.origin) for d in describe([PostSettings], file)}
    assert shown["DEPESCHE_POST_TIMEOUT_SECONDS"] == ("9.0", "environment")
    assert shown["DEPESCHE_POST_PASSWORD"] == ("********", "file")


def test_variables_without_our_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEOUT_SECONDS", "99")
    assert load(PostSettings).timeout_seconds == 5


@pytest.mark.parametrize("line", ["timeout_seconds = -1", 'timeout_seconds = "soon"', "time_out = 3", "= 3"])
def test_an_invalid_setting_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text(f"[post]\n{line}\n")
    with pytest.raises(Invalid) as refused:
        load(PostSettings, file)
    assert "DEPESCHE_POST_TIME" in str(refused.value.errors) or "TOML" in refused.value.detail
