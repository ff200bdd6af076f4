"""A measurement that cannot be run is worse than none: small runs end with their line of JSON."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_sinks_are_measured_with_every_message_accepted() -> None:
    command = [sys.executable, "-m", "bench.sinks", "--messages", "200", "--in-flight", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert [row["accepted"] for row in report["rows"]] == [200, 200]
    assert report["protocols"].keys() == {"2"}
    assert all(row["per_second"] > 0 and row["worker_us"] >= 0 for row in report["rows"])
