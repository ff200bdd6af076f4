"""Output to a pipe, whose reader may stop at any time."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [["--help"], ["recipients", "import", "--help"], ["settings"]])
def test_a_reader_that_stops_early_is_no_failure(words: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words], stdout=writes, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")
