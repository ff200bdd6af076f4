"""Decisions: every subscribed communication is evaluated, every no has its reason, and a repeat decides the same."""

from datetime import timedelta
from typing import Any

import pytest

from libs.ids import CauseId, uuid7
from services.orders_notification.domain.cloudevents import BusinessEvent, from_structured
from services.orders_notification.domain.deciding import decide
from services.orders_notification.domain.releases import catalogue, listeners
from tests.unit.orders_notification.builders import NOW, event, release

CAUSE = CauseId(uuid7())


def order(**changes: Any) -> BusinessEvent:
    return from_structured(event(**changes), NOW)


def outcomes(business_event: BusinessEvent, **told: Any) -> list[str]:
    decided = decide(business_event, CAUSE, listeners([release(**told)]), NOW)
    return [decision.outcome for decision in decided.decisions]


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (None, "requested"),
        ("event.data.total == '59.90' && event.type == 'order.placed'", "requested"),
        ("event.time.getHours() == 9", "requested"),
        ("event.subject == '0'", "condition_false"),
        ("event.data.missing > 5", "condition_error"),
        ("has(event.data.missing) && event.data.missing > 5", "condition_false"),
        ("event.data.total", "condition_error"),
    ],
)
def test_a_condition_is_true_false_or_an_error(condition: str | None, outcome: str) -> None:
    assert outcomes(order(), condition=condition) == [outcome]


@pytest.mark.parametrize(
    ("recipient", "outcome"),
    [
        ("'customer:' + event.data.customer_id", "requested"),
        ("null", "recipient_missing"),
        ("[]", "recipient_missing"),
        ("event.data", "condition_error"),
        ("true", "condition_error"),
        (None, "recipient_missing"),  # the event names no recipient
    ],
)
def test_a_recipient_expression_yields_a_recipient_or_a_reason(recipient: str | None, outcome: str) -> None:
    assert outcomes(order(), recipient=recipient) == [outcome]


def test_without_an_expression_the_event_names_the_recipient() -> None:
    decided = decide(order(recipient="installation:9"), CAUSE, listeners([release(recipient=None)]), NOW)
    assert decided.recipients == ["installation:9"]


def test_expiry_counts_from_the_event_not_from_its_arrival() -> None:
    age = NOW - order().occurred_at
    assert outcomes(order(), expiry_seconds=int(age.total_seconds())) == ["expired"]
    assert outcomes(order(), expiry_seconds=int(age.total_seconds()) + 1) == ["requested"]


@pytest.mark.parametrize("time", ["2031-03-01T09:30:00Z", "9999-12-31T23:59:59Z"])
def test_expiry_of_an_event_dated_in_the_future_counts_from_its_arrival(time: str) -> None:
    decided = decide(order(time=time), CAUSE, listeners([release(expiry_seconds=60)]), NOW)
    assert [request.expires_at for request in decided.requests] == [NOW + timedelta(seconds=60)]


def test_communications_are_evaluated_in_order_and_independently() -> None:
    releases = [
        release(communication="c", recipient="event.data.nobody"),
        release(communication="b"),
        release(communication="a", condition="false"),
    ]
    decided = decide(order(), CAUSE, listeners(releases), NOW)
    assert [(d.communication, d.outcome) for d in decided.decisions] == [
        ("a", "condition_false"),
        ("b", "requested"),
        ("c", "condition_error"),
    ]
    assert [request.communication for request in decided.requests] == ["b"]


def test_deciding_again_gives_the_same_ids() -> None:
    listening = listeners([release()])
    first, again = (decide(order(), CAUSE, listening, NOW + timedelta(seconds=n)) for n in (0, 5))
    assert first.requests[0].request_id == again.requests[0].request_id
    assert first.requests[0].recipients == again.requests[0].recipients


def test_releases_are_found_by_their_trigger() -> None:
    made = catalogue(3, [release("a"), release("b", communication="x"), release("b", communication="w")], [])
    assert [r.communication for r in made.listening_to("b").releases] == ["w", "x"]
    assert made.listening_to("c").releases == []
