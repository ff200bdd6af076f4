"""The shipped bounce rules, compiled once a test process instead of once a test."""

from functools import cache

from services.bounce.adapters.rulebook import shipped_classifier
from services.bounce.domain.classifier import Classifier


@cache
def compiled_rules() -> Classifier:
    """Whoever compiles the same rules while these are kept is given the same database."""
    return shipped_classifier()
