"""Output to a pipe, whose reader may stop at any time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.exits import Exit


@pytest.mark.parametrize("words", [["--help"], ["recipients", "import", "--help"], ["settings"]])
def test_a_reader_that_stops_early_is_no_failure(words: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words], stdout=writes, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [["settings"], ["settings", "--json"]])
def test_a_full_disk_is_reported(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == Exit.REFUSED
    assert "cannot be written: No space left on device" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_terminal_that_lacks_a_character_shows_the_rest() -> None:
    """In Latin-1 or ASCII an arrow must not end a command that has already acted."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "events", "send", b"gr\xc3\xbcn \xfc.json", "--json"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "DEPESCHE_KEY": "dp_live_k_s"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (Exit.USAGE, b"")
    assert json.loads(done.stdout)["exit_code"] == Exit.USAGE
