"""`depesche bounce import`: mails arrive from any container, and the report is correct."""

import json
import mailbox
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from services.bounce.domain.archives import READERS, Bounds, Found
from tests.flows.scripted_suite import KEY, ScriptedSuite
from tests.shell import Shell, serving

IMPORT = ("POST", "/bounce/v1/mails:import")
MAILS = [b"Subject: one\n\nkim\n", b"Subject: two\n\nx\n"]


@pytest.fixture
def served() -> Iterator[tuple[ScriptedSuite, str]]:
    suite = ScriptedSuite()
    with serving(suite) as url:
        yield suite, url


class Inbox:
    """Accepts archives as the service does."""

    def __init__(self) -> None:
        self.mails: dict[bytes, str] = {}
        self.requests = 0

    def take(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        self.requests += 1
        kind = "application/zip" if body.startswith(b"PK") else "application/mbox"
        archive, lines = READERS[kind](Bounds(1_000, 1_000_000, 10_000)), []
        for one in [*archive.feed(body), *archive.finish()]:
            if isinstance(one, Found):
                result = "kept" if self.mails.setdefault(one.raw, one.name) == one.name else "duplicate"
                lines.append({"name": one.name, "result": result})
            else:
                lines.append({"name": one.name, "result": "refused", "reason": one.reason})
        results = [line["result"] for line in lines]
        sums = {word: results.count(word) for word in ("kept", "duplicate", "refused")}
        return 200, [*lines, {"mails": len(lines), **sums, "problem": None}], {}


@pytest.fixture
def inbox(served: tuple[ScriptedSuite, str]) -> Inbox:
    made = Inbox()
    served[0].answers[IMPORT] = made.take
    return made


@pytest.fixture
def shell(served: tuple[ScriptedSuite, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell({"DEPESCHE_URL": served[1], **KEY})


def test_a_maildir_with_a_subfolder_arrives(inbox: Inbox, shell: Shell, tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "Maildir")
    box.add(MAILS[0])
    box.add_folder("bounces").add(MAILS[1])
    (tmp_path / "Maildir" / "dovecot-uidlist").write_text("3 V1")
    done = shell.json("bounce", "import", "Maildir")
    assert (done["mails"], done["kept"], done["refused"]) == (2, 2, 0)
    assert set(inbox.mails) == set(MAILS)
    assert any(name.startswith(".bounces/new/") for name in inbox.mails.values())


def test_a_folder_an_mbox_a_zip_and_a_mail_arrive(inbox: Inbox, shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / "1.EML").write_bytes(MAILS[0])
    (folder / "notes.txt").write_text("none")
    assert shell.json("bounce", "import", "folder")["mails"] == 1
    box = mailbox.mbox(tmp_path / "box")
    box.add(MAILS[1])
    box.close()
    assert shell.json("bounce", "import", "box")["mails"] == 1
    assert set(inbox.mails) == set(MAILS)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("1.eml", b"Subject: three\n\n")
    assert shell.json("bounce", "import", "all.zip")["kept"] == 1
    (tmp_path / "one").write_bytes(b"Subject: four\n\n")
    assert shell.json("bounce", "import", "one")["kept"] == 1


def test_refused_mails_are_named_and_reported(inbox: Inbox, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, raw in {"1.eml": MAILS[0], "2.eml": b"", "3.eml": b"x: y\n\n" + b"z" * 2_000}.items():
        (tmp_path / "folder" / name).write_bytes(raw)
    result = shell.run("bounce", "import", "folder", "--report", "refused.ndjson", exit_code=Exit.REFUSED)
    assert "3 mails" in result.stdout
    assert "1 new" in result.stdout
    assert "2 refused" in result.stdout
    assert "2.eml: It is empty." in result.stderr
    reported = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text().splitlines()]
    assert [refusal["name"] for refusal in reported] == ["2.eml", "3.eml"]


def test_a_large_folder_goes_in_parts(
    inbox: Inbox, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.bounce_import._AT_ONCE", 2)
    (tmp_path / "folder").mkdir()
    for n in range(5):
        (tmp_path / "folder" / f"{n}.eml").write_bytes(b"Subject: %d\n\n" % n)
    assert shell.json("bounce", "import", "folder")["kept"] == 5
    assert inbox.requests == 3


@pytest.mark.parametrize("path", ["nothing", "empty"])
def test_nothing_there_is_wrong_usage(inbox: Inbox, shell: Shell, tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    shell.run("bounce", "import", path, exit_code=Exit.USAGE)
    assert inbox.requests == 0


def test_a_suite_that_is_away_is_said(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(MAILS[0])
    result = shell.run("bounce", "import", "one", exit_code=None, DEPESCHE_URL="http://127.0.0.1:9")
    assert result.exit_code == Exit.UNREACHABLE
