"""`on_unknown: verify`: after an attempt of which nobody knows, the provider is asked, and what it says decides."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.contracts.reasons import Reason
from tests.flows.delivery_world import opened
from tests.flows.sms_world import TAKEN, SmsWorld, sms_world

PENDING, SENT, FAILED, SKIPPED, UNKNOWN = 0, 2, 3, 4, 6


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[SmsWorld]:
    ledger = await opened(database)
    async with sms_world(ledger, tmp_path) as running:
        yield running
    await ledger.close()


async def test_what_the_provider_had_taken_is_sent_once(world: SmsWorld) -> None:
    """It was accepted and never answered: the list has it, with its reference."""
    envelope = await world.texted(TAKEN.format(n=1))
    request = envelope.data.request_id
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    assert not await world.settled(request), "it is not settled while the provider is asked"
    assert await world.asked()
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert await world.settled(request)
    [told] = [t for event in await world.events("message.recorded") for t in event["transitions"] if t["is"] == "sent"]
    assert told["provider_ref"].startswith("SM")
    await world.send_all()
    assert (world.accepted(), await world.asked()) == (1, False)
    assert await world.transitions() == [("sending", "unknown", "timed_out"), ("unknown", "sent", "verified_sent")]
