"""Every measurement still runs, on few rows. It stands beside the engines' tests because it takes a minute."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    ("push", "--messages", "2000", "--reference-messages", "50"),
    ("email", "--messages", "2000", "--reference-messages", "50"),
    ("line", "--events", "500", "--probes", "0"),
    ("why", "--attempts", "200000", "--questions", "5"),
    ("bus", "--carriers", "embedded", "--recipients", "1000"),
    ("bounce_speed", "--mails", "200", "--texts", "500", "--stored", "400"),
    ("bounce_statistics", "--facts", "20000", "--days", "5"),
    ("bounce_replay", "--facts", "2000"),
)


@pytest.mark.parametrize("words", SMALL, ids=lambda words: words[0])
def test_a_measurement_ends_with_its_figures(words: tuple[str, ...]) -> None:
    name, *options = words
    ended = subprocess.run([sys.executable, "-m", f"bench.{name}", *options], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads(ended.stdout.splitlines()[-1])


def test_no_measurement_of_the_page_is_left_out() -> None:
    named = set(re.findall(r"python -m bench\.(\w+)", (ROOT / "docs" / "bench.md").read_text()))
    assert named == {words[0] for words in SMALL} | {"bounce_accuracy"}  # which tests/unit/bounce runs
