"""If Postgres, the broker or a sidecar fails under load, every committed event still has exactly one effect."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI

from cli.engines.daprd import Daprd
from cli.engines.daprd import Sidecar as Beside
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from libs.contracts.envelope import Envelope
from libs.errors import Unavailable
from libs.messaging.bus import Subscriber
from libs.messaging.dapr import DaprRelay, Sidecar
from libs.messaging.routes import Intake, router_of
from libs.storage import embedded
from libs.storage.database import Database
from libs.storage.migrations import migrate
from tests.conformance.bus_promises import Line, Listener, opened
from tests.conftest import ROOT
from tests.engines.conftest import running
from tests.engines.test_dapr_bus import answering
from tests.engines.test_daprd_round_trip import API_TOKEN, APP_TOKEN, write_component
from tests.engines.test_source_topics import FOR_EVER
from tests.waiting import eventually

LOAD = 300


@dataclass
class Keeper(Listener):
    """Stores each number once in a table, as a handler with a natural key does; waits while `gate` is closed."""

    database: Database | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    most_at_once: int = 0
    _now: int = field(default=0)

    async def __call__(self, batch: Sequence[Envelope]) -> None:
        self._now += 1
        self.runs += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.gate.wait()
            mine = [one for one in batch if 0 <= one.data.number - self.first < 1_000]
            for one in mine:
                number = one.data.number - self.first
                self.tries[number] = self.tries.get(number, 0) + 1
                if error := self.refuse.get(number):
                    raise error
            assert self.database is not None
            new = []
            async with self.database.transaction() as connection:
                for one in mine:
                    added = await connection.fetchval(
                        "insert into kept values ($1) on conflict do nothing returning number", one.data.number
                    )
                    new += [one] if added is not None else []
            self.taken += new  # events that were not committed have had no effect
        finally:
            self._now -= 1


@dataclass
class World:
    """A publisher and a subscriber, each with its own sidecar; the subscriber also has its own Postgres."""

    line: Line
    keeper: Keeper
    server: embedded.EmbeddedServer
    folder: Path
    broker: Redis | Kafka
    publishing: Daprd
    subscribing: Daprd

    async def kept(self) -> list[int]:
        async with self.line.keeper.acquire() as connection:
            rows = await connection.fetch("select number from kept order by number")
        return [row["number"] - self.keeper.first for row in rows if 0 <= row["number"] - self.keeper.first < 1_000]

    async def all_kept(self, count: int = LOAD, seconds: float = 120.0) -> bool:
        async def there() -> bool:
            try:
                return await self.kept() == list(range(count))
            except Unavailable:
                return False

        await eventually(there, seconds)
        letters = await self.line.ask("select from dead_letter")
        # one effect each, however often they arrived
        return letters == [] and len(self.keeper.numbers) == len(set(self.keeper.numbers))

    async def load(self, during: asyncio.Event) -> None:
        """Publish all numbers, a few at a time, and signal when a third is out."""
        for first in range(0, LOAD, 10):
            await self.line.publish(*range(first, first + 10))
            if first >= LOAD // 3:
                during.set()
            await asyncio.sleep(0.02)


def _opened_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="depesche-test-"))
    folder.chmod(0o755)  # as root, the server runs as another user, which needs access
    return folder


@pytest.fixture(params=["redis", "kafka"])
async def world(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> AsyncIterator[World]:
    own = _opened_folder()
    kind = Redis if request.param == "redis" else Kafka
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, own, ignore_errors=True)
        server = await asyncio.to_thread(embedded.start, own)
        made: list[World] = []
        stack.callback(lambda: (made[0].server if made else server).stop())  # it may have been restarted
        await migrate(server.dsn, {"delivery": ROOT / "services" / "delivery" / "migrations"})
        access = await stack.enter_async_context(opened(database, "access"))
        delivery = await stack.enter_async_context(opened(server.dsn, "delivery"))
        async with delivery.acquire() as connection:
            await connection.execute("create table kept (number bigint primary key)")
        keeper = Keeper(database=delivery)
        keeper.gate.set()
        broker = await asyncio.to_thread(stack.enter_context, running(kind(tmp_path)))
        app, given = FastAPI(), Sidecar("", API_TOKEN, APP_TOKEN)
        subscriber = Subscriber("delivery", keeper.subscriber().event_type, keeper)
        app.include_router(router_of(Intake("delivery", delivery, [subscriber]), given))
        port = await stack.enter_async_context(answering(app))
        write_component(tmp_path, broker)
        (tmp_path / "resiliency.yaml").write_text(FOR_EVER)
        sidecars = []
        for role, app_port in (("subscribing", port), ("publishing", None)):
            beside = Beside(
                app_id=f"{role}-{uuid4().hex[:8]}", app_port=app_port, resources=[tmp_path], api_token=API_TOKEN,
                app_token=APP_TOKEN,
            )  # fmt: skip
            sidecars.append(await asyncio.to_thread(stack.enter_context, running(Daprd(tmp_path, beside))))
        line = Line(access, delivery, keeper)
        world = World(line, keeper, server, own, broker, sidecars[1], sidecars[0])
        made.append(world)
        async with _relaying(world, subscriber):
            yield world


@asynccontextmanager
async def _relaying(world: World, subscriber: Subscriber) -> AsyncIterator[None]:
    stop = asyncio.Event()
    publishing = Sidecar(world.publishing.url, API_TOKEN, APP_TOKEN)
    relays = [
        DaprRelay(world.line.publisher, (), sidecar=publishing, seconds=3.0),
        DaprRelay(world.line.keeper, [subscriber], sidecar=publishing),
    ]
    tasks = [asyncio.create_task(relay.run(stop)) for relay in relays]
    yield
    stop.set()
    await asyncio.gather(*tasks)


async def test_nothing_is_lost_while_the_subscribers_postgres_is_down(world: World) -> None:
    during = asyncio.Event()
    loading = asyncio.create_task(world.load(during))
    await during.wait()
    await asyncio.to_thread(world.server.stop)
    await loading
    runs = world.keeper.runs
    await eventually(lambda: world.keeper.runs > runs + 2)  # it is redelivered again and again: RETRY was answered
    await asyncio.sleep(3)  # longer than Redis waits before a redelivery
    world.server = await asyncio.to_thread(embedded.start, world.folder)
    assert await world.all_kept()


async def test_nothing_is_lost_when_the_broker_is_killed_and_restarted(world: World) -> None:
    during = asyncio.Event()
    loading = asyncio.create_task(world.load(during))
    await during.wait()
    await asyncio.to_thread(world.broker.kill)
    await loading
    await asyncio.to_thread(world.broker.start)
    assert await world.all_kept()
    assert await world.line.ask("select from outbox", world.line.publisher) == []


@pytest.mark.parametrize("which", ["publishing", "subscribing"])
async def test_nothing_is_lost_when_a_sidecar_is_killed_and_restarted(world: World, which: str) -> None:
    sidecar: Daprd = getattr(world, which)
    during = asyncio.Event()
    loading = asyncio.create_task(world.load(during))
    await during.wait()
    await asyncio.to_thread(sidecar.kill)
    await loading
    await asyncio.to_thread(sidecar.start)
    assert await world.all_kept()


async def test_a_hanging_sidecar_does_not_hang_the_relay(world: World) -> None:
    assert world.publishing.process is not None
    pid = world.publishing.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await world.line.publish(*range(5))
        relay = DaprRelay(
            world.line.publisher, (), sidecar=Sidecar(world.publishing.url, API_TOKEN, APP_TOKEN), seconds=1.0
        )
        started = time.monotonic()
        while time.monotonic() - started < 100:  # the running relay may hold the rows itself
            try:
                await relay.publish_once()
            except Unavailable:
                break
            await asyncio.sleep(0.05)
        assert time.monotonic() - started < 100
        assert await world.kept() == []
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await world.all_kept(5)


async def test_a_redelivery_during_the_first_attempt_has_one_effect(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar dies before the reply; its successor delivers the batch while the handler is still running."""
    monkeypatch.setattr("libs.messaging.delivering.HANDLER_SECONDS", 120.0)
    world.keeper.gate.clear()
    await world.line.publish(*range(3))
    await eventually(lambda: world.keeper.runs)
    await asyncio.to_thread(world.subscribing.kill)
    await asyncio.to_thread(world.subscribing.start)
    # Redis redelivers after 2 s, Kafka when the session of the dead consumer has ended
    await eventually(lambda: world.keeper.most_at_once > 1)
    world.keeper.gate.set()
    assert await world.all_kept(3)


async def test_a_handler_failing_five_times_is_retried_until_it_succeeds(world: World) -> None:
    world.keeper.refuse[1] = ValueError("not yet")
    await world.line.publish(*range(3))

    async def five() -> bool:
        await world.line.hurry()
        return world.keeper.tries.get(1, 0) >= 5

    await eventually(five)
    assert await world.kept() == [0, 2]
    world.keeper.refuse.clear()
    await world.line.hurry()
    assert await world.all_kept(3)
