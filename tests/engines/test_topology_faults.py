"""A shop's hour through production's topology over Kafka while its programs are killed in turn: the sum holds,
nothing is sent twice without a recorded reason, and no inbox contains a duplicate."""

import asyncio

import pytest

from services.topology import PROGRAMS
from tests.engines.topology_hour import PATIENCE, Hour

pytestmark = pytest.mark.timeout(600)  # thirty processes start

_WAVE = 100
_NAMES = [program.app_id for program in PROGRAMS]
_VICTIMS = {"programs": [*_NAMES, "ingress"], "sidecars": [f"daprd-{name}" for name in _NAMES], "broker": ["kafka"]}


@pytest.mark.parametrize("kind", _VICTIMS)
async def test_killed_programs_lose_and_duplicate_nothing(hour: Hour, kind: str) -> None:
    """Each program dies during a wave of orders; the next wave arrives while it restarts."""
    killed = {}
    for victim in _VICTIMS[kind]:
        so_far = len(hour.orders)
        sending = asyncio.create_task(hour.send(_WAVE))
        await hour.reached(so_far + _WAVE // 10)
        killed[victim] = hour.town.kill(victim)
        await sending
        sums = await hour.settled(victim)
        assert sums["sent"] + sums["unknown"] == len(hour.orders), f"{victim}: {sums}"

    async def all_back() -> bool:  # the table is written every two seconds
        now = hour.town.processes()
        return all(now[victim]["alive"] and now[victim]["pid"] != before for victim, before in killed.items())

    await hour.suite.eventually(all_back, PATIENCE)
    await hour.explained(kind)
    await hour.told(sums, kind)


async def test_every_order_is_settled_after_postgres_crashes_and_restarts(hour: Hour) -> None:
    sending = asyncio.create_task(hour.send())
    await hour.reached(30)
    hour.town.crash_postgres()
    await sending
    sums = await hour.settled("postgres")
    assert sums["sent"] + sums["unknown"] == len(hour.orders), sums
    await hour.explained("postgres")
    await hour.told(sums, "postgres")
