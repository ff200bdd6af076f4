"""What happens to a group of messages while Postgres is away."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.auth import InternalTokens
from libs.contracts.outcomes import Lane
from libs.contracts.reasons import Reason
from libs.errors import Unavailable
from libs.service_client import Call, ServiceClient
from services.delivery.adapters.tokens import TokensOverHttp
from services.delivery.domain.outcomes import Ambiguous, Sent
from services.delivery.loops import recorder, sender
from services.delivery.loops.sender import LaneSender
from tests.flows.delivery_world import World


class Absent:
    """The ledger; the first call of one method fails, before or after it has done its work."""

    def __init__(self, ledger: Any, method: str, error: Exception, *, done: bool = False) -> None:
        self._ledger, self._method, self._error, self._done = ledger, method, error, done

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._ledger, name)
        self._method = ""
        return self._failing(getattr(self._ledger, name))

    def _failing(self, method: Any) -> Any:
        async def failing(*given: Any) -> None:
            if self._done:
                await method(*given)
            raise self._error

        return failing


@pytest.mark.parametrize("done", [False, True])
async def test_answers_wait_for_postgres_and_are_recorded_once(world: World, done: bool) -> None:
    release = await world.release(["push"])
    for name in ("sent", "lost"):
        world.tokens.add(f"customer:{name}", "push")
    world.provider.answer = lambda m: Sent() if "sent" in m.address else Ambiguous(Reason.TIMED_OUT, "no answer")
    envelope = await world.request(release, ["customer:sent", "customer:lost"], on_unknown="resend")
    away = Absent(world.ledger, "record", Unavailable("Postgres does not answer"), done=done)
    await LaneSender(world.line(away), Lane.BULK).run_once()
    assert await world.account(envelope.data.request_id) == {"recipients": 2, "sent": 1, "unknown": 1}
    await world.execute("update work set due_at = now() - interval '1 s'")
    world.provider.answer = lambda _: Sent()
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 2, "sent": 2}
    assert sorted(call.attempt for call in world.provider.calls) == [1, 1, 2]


async def test_an_outage_longer_than_the_lease_waits_for_recovery_and_is_no_failed_group(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    envelope = await world.request(release, ["customer:1"])

    away = 0.0

    async def gone(*_: Any) -> None:
        nonlocal away
        away = 2 * line.pace.lease
        raise Unavailable("Postgres does not answer")

    line = world.line(SimpleNamespace(lease=world.ledger.lease, claim=world.ledger.claim, record=gone))
    monkeypatch.setattr(recorder, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + away))
    with capture_logs() as errors:  # warnings are not logged in tests
        await LaneSender(line, Lane.BULK).run_once()
    assert errors == []
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "pending": 1}
    assert len(world.provider.calls) == 1


@pytest.mark.parametrize("answer", [(401, b"{}"), (404, b"<html>"), (200, b"<html>")])
async def test_messages_wait_while_tokens_refuses_us_or_another_program_has_its_url(
    world: World, answer: tuple[int, bytes]
) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    await world.request(release, ["customer:1"])

    async def transport(_: Call) -> tuple[int, bytes]:
        return answer

    client = ServiceClient("tokens", "delivery", InternalTokens(b"k" * 32), transport)
    await LaneSender(replace(world.line(), tokens=TokensOverHttp(client, 5.0)), Lane.BULK).run_once()
    # given back: a lease that runs out counts as a crash of its worker, and after six of them a message has failed
    assert await world.value("select leased_until = '-infinity' and returns = 1 from work")


@pytest.mark.parametrize("method", ["claim", "give_back"])
async def test_a_group_that_postgres_kept_from_its_claim_is_given_back(
    world: World, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to run out, its lease would count as a crash of its worker, and after six of them a message has failed."""
    monkeypatch.setattr(sender, "POSTGRES_AWAY_SECONDS", 0.0)
    world.pace = replace(world.pace, lease=3600.0)  # no slow machine lets it run out
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    envelope = await world.request(release, ["customer:1"])
    away = Absent(world.ledger, "claim", Unavailable("no connection was free"))
    ledger = away if method == "claim" else Absent(away, "give_back", Unavailable("still none"))
    await LaneSender(world.line(ledger), Lane.BULK).run_once()
    assert await world.value("select leased_until = '-infinity' and crashes = 0 from work")
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
    assert len(world.provider.calls) == 1


async def test_a_claim_whose_commit_was_not_confirmed_is_not_given_back(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    await world.request(release, ["customer:1"])
    lost = Absent(world.ledger, "claim", Unavailable("the connection was lost"), done=True)
    await LaneSender(world.line(lost), Lane.BULK).run_once()
    # recovery makes it unknown: nobody else knows that no call was made
    assert await world.value("select calling and leased_until > now() - interval '1 day' from work")


async def test_a_lease_that_fails_takes_no_group_along(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    envelope = await world.request(release, ["customer:1"])
    called, failed = asyncio.Event(), asyncio.Event()

    async def lease_once(*given: Any) -> Any:
        if not called.is_set():
            return await world.ledger.lease(*given)
        failed.set()
        raise RuntimeError("a server that only reads")

    async def answer(*given: Any) -> None:
        called.set()
        await failed.wait()
        await asyncio.sleep(0)
        given[-1](0, Sent("ref"))

    world.provider.send = answer  # type: ignore[method-assign]
    ledger = SimpleNamespace(lease=lease_once, claim=world.ledger.claim, record=world.ledger.record)
    with pytest.raises(RuntimeError):
        await LaneSender(world.line(ledger), Lane.BULK).run(asyncio.Event())
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
