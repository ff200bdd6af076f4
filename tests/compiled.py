"""The shipped bounce rules, compiled once for all test processes and runs: it takes seconds."""

import fcntl
from functools import cache
from pathlib import Path

from services.bounce.adapters.rulebook import shipped_classifier
from services.bounce.domain.classifier import Classifier

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "bounce-rules"


@cache
def compiled_rules() -> Classifier:
    """Load the rules, or compile them while the other processes wait. While they are alive, whoever compiles the same
    rules in this process gets the same database."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return shipped_classifier(FOLDER)
