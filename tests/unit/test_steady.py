"""The clock of tests with short timeouts: it does not count the time during which the process stands still."""

import asyncio
import time

from tests import steady


def test_a_stop_of_the_process_is_no_timeout() -> None:
    async def stopped() -> float:
        started = steady.monotonic()
        async with asyncio.timeout(0.2):
            time.sleep(0.5)  # noqa: ASYNC251
            await asyncio.sleep(0.05)
        return steady.monotonic() - started

    with asyncio.Runner(loop_factory=steady.SteadyLoop) as runner:
        assert 0.05 <= runner.run(stopped()) < 0.2


def test_a_timeout_ends_what_takes_longer() -> None:
    async def endless() -> str:
        try:
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
        except TimeoutError:
            return "ended"
        return "waited"

    with asyncio.Runner(loop_factory=steady.SteadyLoop) as runner:
        assert runner.run(endless()) == "ended"
