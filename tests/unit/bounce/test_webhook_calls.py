"""What follows from calls of another system's webhook: when an event is due again, and when the webhook is disabled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from libs.contracts.outcomes import Mode
from services.bounce.domain.webhooks import KINDS, Answer, Call, Secret, State, Told, Webhook, after, after_all

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
HOUR, FIVE_DAYS = timedelta(hours=1), timedelta(days=5)
OURS = Webhook(UUID(int=1), 1, Mode.LIVE, "https://shop.example/hook", KINDS, "", (Secret("new"),), True, 1, NOON, NOON)
OK, BUSY = Answer(204, None, 3), Answer(503, None, 3)


def call(answer: Answer, attempts: int = 0) -> Call:
    return Call(Told(UUID(int=2), KINDS[0], b"{}", attempts), NOON, answer)


def test_a_webhook_that_answers_is_healthy_even_if_it_refuses_an_event() -> None:
    failing = replace(OURS, failures=7, failing_since=NOON - 2 * FIVE_DAYS)
    stands = after_all(failing, [call(Answer(422, None, 3)), call(OK)], NOON, FIVE_DAYS)
    assert (stands.enabled, stands.failures, stands.failing_since) == (True, 0, None)


@pytest.mark.parametrize(("failed_for", "enabled"), [(FIVE_DAYS - timedelta(seconds=1), True), (FIVE_DAYS, False)])
def test_a_webhook_that_failed_for_days_is_disabled(failed_for: timedelta, enabled: bool) -> None:
    stands = after_all(replace(OURS, failing_since=NOON - failed_for), [call(BUSY)], NOON, FIVE_DAYS)
    assert (stands.enabled, stands.disabled_for) == (enabled, None if enabled else "failing")


@pytest.mark.parametrize(("asked", "waits"), [(90.0, timedelta(seconds=90)), (10e6, HOUR)])
def test_a_wish_to_wait_is_granted_up_to_an_hour(asked: float, waits: timedelta) -> None:
    busy = call(replace(BUSY, retry_after=asked))
    assert after(busy, NOON) == (State.WAITING, NOON + waits)
    assert after_all(OURS, [busy], NOON, FIVE_DAYS).next_at == NOON + waits


def test_an_older_secret_signs_until_its_end() -> None:
    rotated = replace(OURS, secrets=(Secret("new"), Secret("old", NOON)))
    assert rotated.keys(NOON - timedelta(seconds=1)) == ["new", "old"]
    assert rotated.keys(NOON) == ["new"]
