"""The embedded bus keeps the bus's promises."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.messaging.postgres import Relay
from tests.conformance.bus_promises import BusPromises, Line, Listener, opened


class TestEmbeddedBus(BusPromises):
    @pytest.fixture
    async def line(self, database: str) -> AsyncIterator[Line]:
        async with opened(database, "access") as access:
            listener, stop = Listener(), asyncio.Event()
            relaying = asyncio.create_task(Relay(access, [listener.subscriber()]).run(stop))
            yield Line(access, access, listener)
            stop.set()
            await relaying
