"""The shipped rules, compiled once for all tests of a process."""

import functools

from services.bounce.adapters.rulebook import shipped_classifier
from services.bounce.domain.classifier import Classifier


@functools.cache
def rules() -> Classifier:
    return shipped_classifier()
