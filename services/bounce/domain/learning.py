"""Owns how the model learns from reviewed replies: the same replies, in any order, give byte-identical weights.

Multinomial logistic regression, one reply at a time in an order given by a hash, with a step per weight that shrinks
with use (AdaGrad). Five-fold cross-validation: on the held-out replies the temperature is fitted, the accuracy is
measured, and each category gets the confidence above which it is right often enough.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.model import BUCKETS, Model, buckets_of, softmax
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.rules.wording import comparable

FOLDS = 5
_ROUNDS = 20
_STEP = 0.6
_DECAY = 0.002  # of every weight, after each round
_FEWEST = 4  # right guesses that a threshold must rest on
_LEAST = 0.5  # minimum confidence of an answer; twice as near to 1 if the answer would bar an address
_LIKELY = np.linspace(0.3, 3.0, 28)

Numbers = NDArray[np.float64]
Buckets = Sequence[NDArray[np.int64]]


class Example(NamedTuple):
    """A reviewed reply: its category, and others that would be right too."""

    reply: Reply
    category: str
    also: tuple[str, ...] = ()


class Bin(NamedTuple):
    """Guesses of similar confidence: how many, their mean confidence, the share of right ones."""

    guesses: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The results on held-out replies. Shares between 0 and 1; `answered`: of the replies, those above a threshold."""

    replies: int
    categories: dict[str, int]
    accuracy: float
    answered: float
    accuracy_answered: float
    calibration: list[Bin]
    thresholds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"calibration": [one._asdict() for one in self.calibration]}


def train(examples: Sequence[Example], *, precision: float = 0.95) -> tuple[Model, Trained]:
    """Return a model and its quality. `precision`: what a category must reach to be answered; the share of wrong
    ones may be half as large if the answer would bar an address. Raises ValueError with fewer than two categories."""
    ordered = _in_order(examples)
    names = tuple(sorted({example.category for example in ordered}))
    if len(names) < 2:
        raise ValueError("a model needs replies of at least two categories")
    buckets = [buckets_of(example.reply) for example in ordered]
    meant = [names.index(example.category) for example in ordered]
    held_out = _held_out(buckets, meant, len(names))
    temperature = _temperature(held_out, meant)
    shares = np.array([softmax(scores / temperature) for scores in held_out])
    right = [names[int(row.argmax())] in (e.category, *e.also) for row, e in zip(shares, ordered, strict=True)]
    thresholds = _thresholds(shares, right, names, precision)
    weights, scales = _whole_numbers(_fit(buckets, meant, len(names)))
    told = _told(shares, right, names, thresholds)
    counts = dict(sorted(Counter(example.category for example in ordered).items()))
    model = Model(names, weights, scales, temperature, thresholds, made_of=made_of(examples, precision=precision))
    return model, Trained(len(ordered), counts, *told, thresholds)


def made_of(examples: Sequence[Example], *, precision: float = 0.95) -> str:
    """Return the digest of all that a model depends on: one with another digest must be trained again."""
    digest = hashlib.sha256(repr((precision, BUCKETS, FOLDS, _ROUNDS, _STEP, _DECAY, _FEWEST, _LEAST)).encode())
    for example in _in_order(examples):
        digest.update(_mark(example) + repr((example.category, example.also)).encode())
    return digest.hexdigest()[:16]


def _in_order(examples: Sequence[Example]) -> list[Example]:
    """Return each reply once, sorted by a hash of its content: neither order nor repetition in the file matters."""
    return [told for _, told in sorted({_mark(e): e for e in sorted(examples, key=repr)}.items())]


def _mark(example: Example) -> bytes:
    reply = example.reply
    codes = f"{reply.reply_code} {reply.enhanced} {reply.provider}".encode()
    return hashlib.sha256(comparable(reply.text) + codes).digest()


def _fit(buckets: Buckets, meant: Sequence[int], categories: int) -> Numbers:
    weights = np.zeros((BUCKETS, categories))
    used = np.full((BUCKETS, categories), 1e-3)
    numbers = range(len(buckets))
    for turn in range(_ROUNDS):
        for number in sorted(numbers, key=lambda n: hashlib.sha256(f"{turn}:{n}".encode()).digest()):
            at = buckets[number]
            length = 1 / np.sqrt(len(at))
            wrong = softmax(weights[at].sum(axis=0) * length)
            wrong[meant[number]] -= 1
            slope = wrong * length
            used[at] += slope * slope
            weights[at] -= _STEP * slope / np.sqrt(used[at])
        weights *= 1 - _DECAY
    return weights


def _held_out(buckets: Buckets, meant: Sequence[int], categories: int) -> Numbers:
    """Return the scores of each reply by weights that have not seen it."""
    scores = np.zeros((len(buckets), categories))
    for fold in range(FOLDS):
        seen = [n for n in range(len(buckets)) if n % FOLDS != fold]
        weights = _fit([buckets[n] for n in seen], [meant[n] for n in seen], categories)
        for number in range(fold, len(buckets), FOLDS):
            at = buckets[number]
            scores[number] = weights[at].sum(axis=0) / np.sqrt(len(at))
    return scores


def _temperature(scores: Numbers, meant: Sequence[int]) -> float:
    """Return the temperature under which the held-out replies are least surprising."""

    def surprise(temperature: float) -> float:
        pairs = zip(scores, meant, strict=True)
        return -float(sum(np.log(softmax(row / temperature)[one] + 1e-12) for row, one in pairs))

    return round(float(min(_LIKELY, key=surprise)), 2)


def _thresholds(shares: Numbers, right: Sequence[bool], names: Sequence[str], precision: float) -> dict[str, float]:
    """Return by category the lowest confidence above which enough guesses are right; absent if there is none."""
    found: dict[str, float] = {}
    best = shares.argmax(axis=1)
    for place, name in enumerate(names):
        bars = CATEGORIES[name].action is Action.SUPPRESS
        wanted, least = (1 - (1 - precision) / 2, (1 + _LEAST) / 2) if bars else (precision, _LEAST)
        guesses = sorted(
            ((float(shares[n, place]), right[n]) for n in range(len(right)) if best[n] == place), reverse=True
        )
        good = 0
        for count, (confidence, fits) in enumerate(guesses, 1):
            good += fits
            if good >= _FEWEST and good / count >= wanted:
                found[name] = round(max(confidence, least), 4)
    return found


def _told(
    shares: Numbers, right: Sequence[bool], names: Sequence[str], thresholds: dict[str, float]
) -> tuple[float, float, float, list[Bin]]:
    best, sure = shares.argmax(axis=1), shares.max(axis=1)
    answers = [n for n in range(len(right)) if sure[n] >= thresholds.get(names[int(best[n])], 2.0)]
    bins = []
    for low in np.arange(0, 1, 0.1):
        inside = [n for n in range(len(right)) if low <= sure[n] < low + 0.1 or (sure[n] == 1 and low > 0.85)]
        if inside:
            confidence, fits = np.mean([sure[n] for n in inside]), np.mean([right[n] for n in inside])
            bins.append(Bin(len(inside), round(float(confidence), 3), round(float(fits), 3)))
    good = sum(right[n] for n in answers) / len(answers) if answers else 0.0
    return round(sum(right) / len(right), 4), round(len(answers) / len(right), 4), round(good, 4), bins


def _whole_numbers(weights: Numbers) -> tuple[NDArray[np.int8], Numbers]:
    """Return the weights as int8 with a scale for each category."""
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    return np.rint(weights / scales).astype(np.int8), np.array([float(f"{scale:.6g}") for scale in scales])
