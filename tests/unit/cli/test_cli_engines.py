"""Engines are built from pinned sources, and an error about a missing prerequisite says what to do."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from cli.engines import needs
from cli.engines.build import BuildFailed, check_jars
from cli.engines.cache import NotBuilt, built, cache_folder, folder_of
from cli.engines.debian import unpacked
from cli.engines.needs import ToolMissing
from cli.engines.recipes import KAFKA, DebianSource


def make_jdk(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "javac").touch()
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.fixture
def jdks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder searched for JDKs."""
    monkeypatch.setattr(needs, "_JDK_FOLDERS", (str(tmp_path / "jvm"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "jvm"


def test_java_home_wins_over_the_newest_jdk(jdks: Path, tmp_path: Path) -> None:
    make_jdk(jdks / "old", "1.8.0_402")
    make_jdk(jdks / "new", "25.0.1")
    make_jdk(jdks / "enough", "21.0.5")
    own = make_jdk(tmp_path / "own", "21")
    assert needs.jdk({}) == jdks / "new"
    assert needs.jdk({"JAVA_HOME": str(own)}) == own
    assert needs.jdk({"JAVA_HOME": str(jdks / "old")}) == jdks / "new"


def test_without_a_recent_jdk_the_error_names_those_found(jdks: Path) -> None:
    make_jdk(jdks / "seventeen", "17.0.9")
    with pytest.raises(needs.ToolMissing, match=r"21 or newer; found: .*seventeen \(17\).*JAVA_HOME"):
        needs.jdk({})


def test_a_missing_tool_is_named_with_what_to_install(jdks: Path) -> None:
    with pytest.raises(needs.ToolMissing, match=r"`go` is not on the PATH\. Install Go"):
        needs.go()
    with pytest.raises(needs.ToolMissing, match=r"`mvn` is not on the PATH\. Install Maven"):
        needs.maven()


def test_a_changed_missing_or_unlisted_jar_fails_the_build(tmp_path: Path) -> None:
    lib, listed = tmp_path / "lib", tmp_path / "jars.sha256"
    lib.mkdir()
    (lib / "a.jar").write_bytes(b"a")
    listed.write_text(f"{hashlib.sha256(b'a').hexdigest()}  a.jar\n")
    check_jars(lib, listed)
    (lib / "b.jar").write_bytes(b"b")
    with pytest.raises(BuildFailed, match=r"b\.jar"):
        check_jars(lib, listed)
    (lib / "b.jar").unlink()
    (lib / "a.jar").write_bytes(b"other")
    with pytest.raises(BuildFailed, match=r"a\.jar"):
        check_jars(lib, listed)
    (lib / "a.jar").unlink()
    with pytest.raises(BuildFailed, match=r"a\.jar"):
        check_jars(lib, listed)


def test_an_unbuilt_engine_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPESCHE_ENGINES", str(tmp_path))
    assert cache_folder({"DEPESCHE_ENGINES": str(tmp_path)}) == tmp_path
    assert folder_of(KAFKA).is_relative_to(tmp_path)
    with pytest.raises(NotBuilt, match="make engines"):
        built(KAFKA)


def test_a_source_archive_is_unpacked_by_every_supported_python_and_only_if_it_is_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "tool-1.0").mkdir()
    (tmp_path / "tool-1.0" / "configure").write_text("#!/bin/sh\n")
    archive = tmp_path / "tool.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "tool-1.0", "tool-1.0")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "apt").mkdir()
    how = DebianSource("sid", "tool", archive.name, digest, (), "1.0")
    assert unpacked(archive, how, tmp_path) == tmp_path / "apt" / "tool-1.0"
    archive.write_bytes(archive.read_bytes() + b"!")
    with pytest.raises(ToolMissing, match="not the file of the recipe"):
        unpacked(archive, how, tmp_path)
