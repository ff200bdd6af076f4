"""A shop's hour through production's topology while a store is down for a minute, while a provider goes silent after
accepting, and while every message on the bus arrives twice and in any order."""

import asyncio
from pathlib import Path

import pytest

from tests.engines.topology_copies import copying
from tests.engines.topology_hour import ORDERS, PATIENCE, Hour

pytestmark = pytest.mark.timeout(600)  # thirty processes start

_MINUTE = 60.0
_SILENT = 8  # as many as there are connections to the mail server, each of which hangs for 15 s


@pytest.mark.parametrize("stores", [("ferretdb",), ("opensearch", "jaeger")], ids=" and ".join)
async def test_a_minute_without_a_store_blocks_nobody_and_misses_nothing(hour: Hour, stores: tuple[str, ...]) -> None:
    about = " and ".join(stores)
    async with hour.town.away(stores, _MINUTE):
        await hour.send()
        sums = await hour.settled(about)
        assert sums["sent"] == ORDERS, sums
    await hour.explained(about)
    await hour.told(sums, about)


async def test_a_silent_provider_causes_no_duplicate_without_a_counted_unknown(
    hour: Hour,
) -> None:
    """One communication leaves unknown messages alone, the other resends them once, by its policy."""
    for number in range(_SILENT):
        for name, fault in (("once", "timeout-acceptedx1"), ("always", "timeout-accepted")):
            mail = {"emails": [f"eve.{number}+fault.{fault}@mail.example"]}
            await hour.suite.put(f"/tokens/v1/recipients/customer:{name}-{number}", mail)
    about, numbers = "a silent provider", range(_SILENT)
    await hour.say("login.requested", [{"customer": f"customer:once-{n}", "code": "123456"} for n in numbers])
    order = {"total": "19.90", "currency": "EUR", "items": [{"name": "Lampe", "quantity": 1}], "order_id": 1}
    await hour.say("order.placed", [order | {"customer": f"customer:always-{n}"} for n in numbers])
    sums = await hour.settled(about)
    assert (sums["sent"], sums["unknown"]) == (_SILENT, _SILENT), sums
    assert await hour.explained(about) >= _SILENT
    await hour.told(sums, about)


async def test_duplicates_in_any_order_have_one_effect(hour: Hour, tmp_path: Path) -> None:
    async with copying(tmp_path, f"127.0.0.1:{hour.town.processes()['kafka']['port']}") as copyist:
        await asyncio.gather(hour.send(), hour.suite.eventually(lambda: _has(copyist.seen), PATIENCE))
        sums = await hour.settled("copies")
        await hour.told(sums, "copies")
        # request, decision and settlement of each, at least
        await hour.suite.eventually(lambda: _has(copyist.events >= 3 * ORDERS), PATIENCE)
        assert copyist.copied == len(copyist.seen)
        await asyncio.sleep(5)  # the last copies have been consumed
        assert await hour.messages() == sums
    assert sums["sent"] == ORDERS, sums
    await hour.settled("copies")
    await hour.explained("copies")
    await hour.told(sums, "copies")


async def _has(found: object) -> bool:
    return bool(found)
