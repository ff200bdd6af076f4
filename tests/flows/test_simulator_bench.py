"""A measurement that cannot run is worse than none: a small run ends with its line of JSON."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_way_of_sending_hands_over_every_message() -> None:
    # given a ledger, a sink and baselines of the same run
    command = [sys.executable, "-m", "bench.push", "--messages", "600", "--reference-messages", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    # then each accepted message was one that was sent, and the sender path has figures beside a goal
    assert [row["accepted"] - row["messages"] for row in report["rows"]] == [0] * 5
    assert report["rows"][-1]["messages"] == 600
    assert report["rows"][-1]["postgres_us"] > 0
    assert set(report["verdict"]["personal"]) >= {"per_second", "own_us", "goal", "met", "rate_to_bare"}
