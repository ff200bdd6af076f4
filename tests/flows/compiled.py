"""The shipped bounce rules, compiled once per test process instead of once per test."""

from functools import cache

from services.bounce.adapters.rulebook import shipped_classifier
from services.bounce.domain.classifier import Classifier


@cache
def compiled_rules() -> Classifier:
    """Compile the rules; while they are alive, compiling the same rules returns the same database."""
    return shipped_classifier()
