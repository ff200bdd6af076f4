"""Owns the classification by a linear model of replies that no rule matches: a category, and the confidence.

A reply becomes buckets: its words, pairs of words, runs of four characters, its codes and provider, each hashed. A
category's score is the sum of its weights there; the confidence is a softmax over the scores, with a temperature fitted
on held-out replies. Weights are integers with one scale for each category: equal files mean equal verdicts.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.rules.wording import comparable

BUCKETS = 1 << 14
NOTHING = "undetermined"  # replies that say nothing are learned too, and never answered
_MAX_BYTES = 600
_RUN = 4
_DIGITS = re.compile(rb"[0-9]+")


class Guess(NamedTuple):
    """The likeliest category; `confidence` between 0 and 1, calibrated: of guesses at 0.9 nine in ten are right."""

    category: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Model:
    """`weights`: int8, BUCKETS × categories. `thresholds`: the minimum confidence for each category. `made_of`: the
    digest of the replies and parameters of its training."""

    categories: tuple[str, ...]
    weights: NDArray[np.int8]
    scales: NDArray[np.float64]
    temperature: float
    thresholds: dict[str, float]
    digest: str = ""
    made_of: str = ""

    def predict(self, replies: Sequence[Reply]) -> list[Guess]:
        """Return the likeliest category of each reply, with any confidence."""
        guesses = []
        for reply in replies:
            buckets = buckets_of(reply)
            scores = self.weights[buckets].sum(axis=0, dtype=np.int64) * self.scales / np.sqrt(max(len(buckets), 1))
            shares = softmax(scores / self.temperature)
            best = int(shares.argmax())
            guesses.append(Guess(self.categories[best], round(float(shares[best]), 4)))
        return guesses

    def answer(self, reply: Reply) -> Guess | None:
        """Return the guess if it is sure enough to be a verdict."""
        guess = self.predict([reply])[0]
        sure = guess.confidence >= self.thresholds.get(guess.category, 2.0)
        return guess if sure and guess.category != NOTHING else None


def buckets_of(reply: Reply) -> NDArray[np.int64]:
    """Return the buckets of a reply, sorted, without repeats."""
    return np.array(sorted({zlib.crc32(piece) % BUCKETS for piece in _pieces(reply)}), dtype=np.int64)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores as shares that add up to one."""
    grown = np.exp(scores - scores.max())
    return np.asarray(grown / grown.sum(), dtype=np.float64)


def _pieces(reply: Reply) -> Iterator[bytes]:
    yield b""  # the bias: a category's weight for an empty reply
    text = _DIGITS.sub(b"0", comparable(reply.text)[:_MAX_BYTES])
    words = text.split()
    yield from (b"w" + word for word in words)
    yield from (b"p" + one + b" " + two for one, two in pairwise(words))
    yield from (b"c" + text[at : at + _RUN] for at in range(len(text) - _RUN + 1))
    if reply.reply_code:
        yield b"r%d" % reply.reply_code
        yield b"k%d" % (reply.reply_code // 100)
    if reply.enhanced:
        yield b"e" + reply.enhanced.encode()
        yield b"s" + reply.enhanced.rpartition(".")[0].encode()
    if reply.provider:
        yield b"v" + reply.provider.encode()
