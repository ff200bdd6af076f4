"""A verdict is true to the life of the message: lives are drawn, with what the provider did, and told in any order.

A life says of each try what the provider did with it; history hears of that what delivery can know. No verdict may
claim more than that, and none may claim what is not so.
"""

import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from libs.contracts.outcomes import Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.facts import Message, Receipt, Transition
from tests.unit.history.stories import NOON, message, verdict

_REACHED = (ReceiptKind.DELIVERED, ReceiptKind.OPENED, ReceiptKind.CLICKED, ReceiptKind.COMPLAINED)
_MOST_TRIES = 4


@dataclass
class Life:
    """One message as it really went. `accepted`: tries that the provider took and did not give up afterwards;
    `silent`: tries of which nobody ever learns; `waits`: it was put back into the queue, and is there still."""

    draw: random.Random
    accepted: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    waits: bool = False
    transitions: list[Transition] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    _seconds: float = 0.0

    def run(self) -> "Life":
        attempt = 1
        while attempt <= _MOST_TRIES:
            tried = self.draw.choice((self._accepted, self._refused, self._put_back, self._no_answer, self._ended))
            if not tried(attempt):
                return self
            attempt += 1
        return self

    def told(self, address: int) -> Message:
        self.draw.shuffle(self.transitions)
        self.draw.shuffle(self.receipts)
        return message(*self.transitions, address=address, receipts=tuple(self.receipts))

    def _accepted(self, attempt: int) -> bool:
        self._move(attempt, Status.SENDING, Status.SENT)
        if self.draw.random() < 0.2:
            self._move(attempt, Status.SENT, Status.FAILED, Reason.PROVIDER_GAVE_UP)
            return False
        self.accepted.add(attempt)
        if self.draw.random() < 0.5:
            self._receipt(attempt, *_REACHED, ReceiptKind.DEFERRED, ReceiptKind.ACCEPTED)
        return False

    def _refused(self, attempt: int) -> bool:
        self._move(attempt, Status.SENDING, Status.FAILED, Reason.PROVIDER_REJECTED)
        if self.draw.random() < 0.1:  # a time-out that was sorted as definite, and was delivered after all
            self._receipt(attempt, *_REACHED)
            self._move(attempt, Status.FAILED, Status.SENT)
            self.accepted.add(attempt)
        return False

    def _put_back(self, attempt: int) -> bool:
        self._move(attempt, Status.SENDING, Status.PENDING, Reason.THROTTLED)
        return self._goes_on(attempt)

    def _ended(self, attempt: int) -> bool:
        status, reason = self.draw.choice(
            ((Status.SKIPPED, Reason.EXPIRED), (Status.SUPPRESSED, Reason.SUPPRESSED_BOUNCE))
        )
        self._move(attempt, Status.PENDING, status, reason)
        return False

    def _no_answer(self, attempt: int) -> bool:
        took = self.draw.random() < 0.5
        self._move(attempt, Status.SENDING, Status.UNKNOWN, Reason.TIMED_OUT)
        if took:
            self.accepted.add(attempt)
        match self.draw.choice(("leave", "asked", "receipt", "resend", "resend, then receipt")):
            case "asked":
                if took:
                    self._move(attempt, Status.UNKNOWN, Status.SENT, Reason.VERIFIED_SENT)
                    return False
                self._move(attempt, Status.UNKNOWN, Status.PENDING, Reason.VERIFIED_NOT_SENT)
                return self._goes_on(attempt)
            case "receipt" if took:
                self._receipt(attempt, *_REACHED, ReceiptKind.ACCEPTED)
                self._move(attempt, Status.UNKNOWN, Status.SENT)
                return False
            case "resend, then receipt" if took:
                self._receipt(attempt, *_REACHED, ReceiptKind.ACCEPTED, ReceiptKind.BOUNCED)  # delivery tells no more
                return self.draw.random() < 0.8
            case "resend" | "resend, then receipt":
                self.silent.add(attempt)
                return self.draw.random() < 0.8
        self.silent.add(attempt)
        return False

    def _goes_on(self, attempt: int) -> bool:
        self.waits = attempt == _MOST_TRIES or self.draw.random() < 0.2
        return not self.waits

    def _move(self, attempt: int, was: Status, status: Status, reason: Reason = Reason.NONE) -> None:
        self.transitions.append(Transition(self._now(), attempt, was, status, reason, Channel.PUSH))

    def _receipt(self, attempt: int, *kinds: ReceiptKind) -> None:
        self.receipts.append(Receipt(self._now(), attempt, self.draw.choice(kinds), "p"))

    def _now(self) -> datetime:
        self._seconds += 1
        return NOON + timedelta(seconds=self._seconds + self.draw.uniform(-2, 2))  # of several replicas


@pytest.mark.parametrize("addresses", [1, 2, 3])
def test_every_verdict_is_true_to_the_life(addresses: int) -> None:
    codes = set()
    for seed in range(6_000):
        draw = random.Random(seed)
        lives = [Life(draw).run() for _ in range(addresses)]
        said = verdict(*(life.told(17 + place) for place, life in enumerate(lives)))
        known = [life.accepted - life.silent for life in lives]
        told = f"seed {seed}: {said.sentence}"
        codes.add(said.code)
        match said.code:
            case "sent":
                assert any(known), told
                assert all(len(life.accepted) < 2 or not known[n] for n, life in enumerate(lives)), told
                _others_are_told_truly(said.sentence, lives, known)
            case "sent_twice" if said.certain:
                assert any(len(tries) > 1 for tries in known), told
            case "sent_twice":
                assert any(tries and life.silent for life, tries in zip(lives, known, strict=True)), told
            case "not_sent":
                assert not any(life.accepted or life.silent or life.waits for life in lives), told
            case "not_yet":
                assert any(life.waits for life in lives), told
                assert not any(known), told
                assert not said.certain or not any(life.silent for life in lives if life.waits), told
            case "unknown":
                assert any(life.silent for life in lives), told
                assert not any(known), told
            case "bounced":
                assert any(receipt.kind is ReceiptKind.BOUNCED for life in lives for receipt in life.receipts), told
    assert codes >= {"sent", "sent_twice", "not_sent", "not_yet", "unknown"}


def _others_are_told_truly(sentence: str, lives: list[Life], known: list[set[int]]) -> None:
    others = [life for life, tries in zip(lives, known, strict=True) if not tries]
    nothing = sum(not (life.silent or life.waits) for life in others)
    waiting = sum(life.waits for life in others)
    for words, count in (
        (r"(\d) other address(?:es)? got nothing", nothing),
        (r"For (\d) other address(?:es)? it is not known", len(others) - nothing - waiting),
        (r"still on its way to (\d) other address", waiting),
    ):
        found = re.search(words, sentence)
        assert int(found[1] if found else 0) == count, sentence
