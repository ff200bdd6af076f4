"""A chunk always ends: neither an unencodable push nor a failing caller leaves it, or others, hanging."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from libs.clock import FixedClock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.rendering.contents import PushContent
from services.delivery.adapters.fcm import FcmProvider
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import Outcome, Rejected, Sent
from services.delivery.ports import Settle
from tests.conformance.http2_peer import Peer, peer

CLOCK = FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
SEVERAL: Any = {"orders": ["1", "2"]}  # FCM's data values are strings; nothing before the encoder checks each of them


def push(data: Any = None) -> Outbound:
    notification = uuid4()
    content = PushContent("T", "B", data=data or {})
    return Outbound(f"{notification}.5", notification, 5, 1, "fcm_token", "device-1", content)


def sender(port: int) -> Sender:
    account = FcmAccount("shop", static_token="t", url=f"http://127.0.0.1:{port}", connections=1)
    return Sender(3, 1, Mode.LIVE, Channel.PUSH, 1, account)


async def send(provider: FcmProvider, port: int, pushes: list[Outbound], settle: Settle, seconds: float = 20.0) -> None:
    await provider.send(sender(port), pushes, time.monotonic() + seconds, settle)


async def test_an_unencodable_push_is_rejected_and_the_rest_is_sent() -> None:
    outcomes: dict[int, Outcome] = {}
    async with peer(Peer.serve) as (port, _):
        provider = FcmProvider(CLOCK)
        await send(provider, port, [push(), push(SEVERAL), push()], outcomes.__setitem__)
        await provider.close()
    assert isinstance(outcomes[0], Sent)
    assert isinstance(outcomes[2], Sent)
    assert isinstance(outcomes[1], Rejected)
    assert (outcomes[1].reason, outcomes[1].retire) == (Reason.INTERNAL, False)
    assert "list" in outcomes[1].text


async def test_a_failing_caller_ends_only_its_own_chunk() -> None:
    """Its error is raised by `send`; the connection survives, and another chunk on it gets its replies."""
    harm: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: harm.append(context))
    told: list[Outcome] = []

    def failing(index: int, outcome: Outcome) -> None:
        raise LookupError("the ledger's caller is broken")

    async with peer(Peer.serve) as (port, peers):
        provider = FcmProvider(CLOCK)
        many = [push() for _ in range(300)]
        broken, served = await asyncio.gather(
            send(provider, port, many, failing),
            send(provider, port, many, lambda _, outcome: told.append(outcome)),
            return_exceptions=True,
        )
        await provider.close()
    assert isinstance(broken, LookupError)
    assert served is None
    assert len(told) == 300
    assert all(isinstance(outcome, Sent) for outcome in told)
    assert len(peers) == 1
    assert harm == []


async def test_a_caller_failing_before_anything_is_sent_gets_its_error() -> None:
    def failing(index: int, outcome: Outcome) -> None:
        raise LookupError("the ledger's caller is broken")

    async with peer(Peer.serve) as (port, peers):
        provider = FcmProvider(CLOCK)
        with pytest.raises(LookupError):
            await send(provider, port, [push()] * 3, failing, seconds=-1)
        await provider.close()
    assert peers == []
