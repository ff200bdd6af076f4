"""Ids are derived deterministically, carry their cause's time, and distinguish what is different."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ids import (
    AddressHasher,
    event_key,
    first_id_at,
    message_id,
    notification_id,
    parse_message_id,
    request_id,
    time_of,
    uuid7,
)

CAUSE = UUID("01936d3e-7c00-7000-8000-000000000000")


def test_a_repeat_is_the_same_notification() -> None:
    once = notification_id(CAUSE, "order-confirmed", "customer:1")
    assert once == notification_id(CAUSE, "order-confirmed", "customer:1")
    assert once != notification_id(CAUSE, "order-confirmed", "customer:2")
    assert once != notification_id(CAUSE, "order-cancelled", "customer:1")


def test_adjacent_parts_cannot_be_confused() -> None:
    assert notification_id(CAUSE, "a", "bc") != notification_id(CAUSE, "ab", "c")
    assert event_key(1, 1, "a:1", "b") != event_key(1, 1, "a", "1:b")


def test_ids_contain_their_version_and_time() -> None:
    before = datetime.now(UTC)
    cause = uuid7()
    made = notification_id(cause, "x", "y")
    assert (cause.version, made.version, made.variant) == (7, 8, cause.variant)
    assert time_of(made) == time_of(cause)
    assert before - timedelta(milliseconds=1) < time_of(cause) <= datetime.now(UTC)


def test_request_ids_sort_in_the_order_of_their_causes() -> None:
    causes = [UUID(int=CAUSE.int + (n << 80)) for n in range(20)]
    made = [request_id(cause, CAUSE, 0) for cause in causes]
    assert made == sorted(made)
    assert made[0] == request_id(causes[0], CAUSE, 0)
    assert len({request_id(CAUSE, CAUSE, part) for part in range(20)} | {request_id(CAUSE, causes[1], 0)}) == 21


def test_random_bits_are_redrawn_when_the_pool_is_used_up() -> None:
    assert len({uuid7().int & (1 << 62) - 1 for _ in range(2_000)}) == 2_000


def test_a_days_ids_lie_between_its_bounds() -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    inside = notification_id(UUID(int=first_id_at(day).int | (7 << 76) | (2 << 62)), "x", "y")
    assert first_id_at(day) <= inside < first_id_at(day + timedelta(days=1))


@given(st.uuids(), st.integers(min_value=0, max_value=2**63 - 1))
def test_message_ids_round_trip(notification: UUID, address: int) -> None:
    assert parse_message_id(message_id(notification, address)) == (notification, address)


@pytest.mark.parametrize("text", ["", "x", str(CAUSE), f"{CAUSE}.", f"{CAUSE}.-1", f"{CAUSE}.１", f"x.{CAUSE}"])
def test_an_invalid_message_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_message_id(text)


def test_address_hashes_depend_on_key_and_kind() -> None:
    one = AddressHasher(b"k" * 32)
    assert one("email", "a@b.example") == one("email", "a@b.example")
    assert one("email", "a@b.example") != one("phone", "a@b.example")
    assert one("email", "a@b.example") != AddressHasher(b"j" * 32)("email", "a@b.example")
