"""Metrics count committed transitions: each once, and none of a transaction that was rolled back."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from libs.contracts.delivery import Transition
from services.delivery.adapters.postgres.counting import counted, note
from services.delivery.loops.figures import show_unknown


def transitions(status: str, count: int, reason: str = "none", channel: str | None = "email") -> list[Transition]:
    return [
        Transition(
            notification_id=UUID(int=number),
            address_id=1,
            recipient="customer:1",
            attempt=1,
            was="sending",
            is_=status,
            reason=reason,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            channel=channel,
        )
        for number in range(count)
    ]


def figure(status: str, reason: str, channel: str) -> float:
    labels = {"status": status, "reason": reason, "channel": channel}
    return REGISTRY.get_sample_value("depesche_delivery_messages_total", labels) or 0.0


def test_transitions_are_counted_after_the_commit() -> None:
    before = figure("sent", "none", "email"), figure("skipped", "no_address", "none")
    with counted():
        note(transitions("sent", 3))
        note(transitions("skipped", 2, "no_address", None))
        assert figure("sent", "none", "email") == before[0]
    after = figure("sent", "none", "email"), figure("skipped", "no_address", "none")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 2)


def test_a_rolled_back_transaction_counts_nothing() -> None:
    before = figure("sent", "none", "email")

    def broken() -> None:
        with counted():
            note(transitions("sent", 3))
            raise RuntimeError("deadlock")

    with pytest.raises(RuntimeError, match="deadlock"):
        broken()
    note(transitions("sent", 3))  # outside a counted transaction, such as the end of a day, which publishes no event
    assert figure("sent", "none", "email") == before


def test_a_sender_without_remaining_unknowns_shows_zero() -> None:
    seen: set[tuple[int, int, int]] = set()
    show_unknown({(1, 1, 3): 7}, seen)
    labels = {"tenant": "1", "mode": "live", "sender": "3"}
    assert REGISTRY.get_sample_value("depesche_delivery_unknown", labels) == 7
    show_unknown({}, seen)
    assert REGISTRY.get_sample_value("depesche_delivery_unknown", labels) == 0
