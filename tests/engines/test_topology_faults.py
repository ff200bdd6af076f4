"""A shop's hour through production's topology while its parts are killed: the sum holds, and nothing is sent twice
without a reason that is written down.

Over Kafka; each story sends some hundred orders and kills in the middle of them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.engines.topology_world import Town, town_of
from tests.flows.whole_suite import Suite, open_shop

pytestmark = pytest.mark.timeout(600)  # thirty processes start

ORDERS = 300
_PATIENCE = 150.0
_STATUSES = ("sent", "failed", "skipped", "suppressed", "unknown", "pending")
_DATA = {"total": "19.90", "currency": "EUR", "items": [{"name": "Lampe", "quantity": 1}]}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town_of(tmp_path_factory.mktemp("faults"), "kafka") as town:
        asyncio.run(_opened(town))
        yield town


async def _opened(town: Town) -> None:
    """The example shop, and a customer for each order."""
    async with town.suite() as suite:
        await open_shop(suite)
        for number in range(ORDERS):
            mail = {"first_name": "Ada", "emails": [f"ada.{number}@mail.example"]}
            await suite.put(f"/tokens/v1/recipients/customer:{number}", mail)


@dataclass
class Hour:
    """Orders that are sent now, and what became of them."""

    town: Town
    suite: Suite
    before: dict[str, int]
    orders: list[str] = field(default_factory=list)

    async def messages(self) -> dict[str, int]:
        """The ledger's sums since the hour began; {} where nobody answers at the moment."""
        try:
            answer = await self.suite.client.get("/delivery/v1/statistics")
        except httpx.HTTPError:
            return {}
        if answer.status_code != 200:
            return {}
        now = answer.json()["messages"]
        return {name: now[name] - self.before.get(name, 0) for name in ("total", *_STATUSES)}

    async def send(self) -> None:
        """All orders in one stream, sent again until it is taken: each has its own id."""
        self.orders = [f"{uuid4().hex[:12]}-{number}" for number in range(ORDERS)]
        event = {"specversion": "1.0", "source": "https://shop.example", "type": "order.placed"}
        lines = "\n".join(
            json.dumps(
                event | {"id": order, "subject": order, "data": _DATA | {"customer": f"customer:{n}", "order_id": n}}
            )
            for n, order in enumerate(self.orders)
        )
        kind = {"content-type": "application/x-ndjson"}

        async def taken() -> bool:
            try:
                answer = await self.suite.client.post("/orders-notification/v1/events", content=lines, headers=kind)
            except httpx.HTTPError:
                return False
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            said = [json.loads(line) for line in answer.text.splitlines()] if answer.status_code == 202 else []
            return len(said) == ORDERS and {line["status"] for line in said} <= {"accepted", "duplicate"}

        await self.suite.eventually(taken, _PATIENCE)

    async def reached(self, share: float) -> None:
        """Some of them are final."""

        async def so_far() -> bool:
            sums = await self.messages()
            return bool(sums) and sums["total"] - sums["pending"] >= share * ORDERS

        await self.suite.eventually(so_far, _PATIENCE)

    async def settled(self) -> dict[str, int]:
        """The sums when all have an end."""
        found: dict[str, int] = {}

        async def done() -> bool:
            nonlocal found
            found = await self.messages()
            return bool(found) and found["total"] == ORDERS and not found["pending"]

        try:
            await self.suite.eventually(done, _PATIENCE)
        except AssertionError:
            pytest.fail(f"not settled: {found}")
        return found

    async def explained(self) -> None:
        """Whatever a provider accepted twice has an attempt of which nobody knew the end."""
        for repeat in self.town.simulator("repeats")["items"]:
            shown = await self.suite.get(f"/delivery/v1/messages/{repeat['message']}")
            unknown = [attempt for attempt in shown["attempts"] if attempt["status"] == "unknown"]
            assert len(repeat["accepted"]) - 1 <= len(unknown), shown

    async def told(self) -> None:
        """History knows how the last order ended, whatever was away in between."""

        async def why() -> bool:
            answer = await self.suite.client.get("/history/v1/why", params={"order": self.orders[-1]})
            return answer.status_code == 200 and answer.json()["verdict"] in ("sent", "unknown", "sent_twice")

        await self.suite.eventually(why, _PATIENCE)


@pytest.fixture
async def hour(town: Town) -> AsyncIterator[Hour]:
    async with town.suite() as suite:
        before = (await suite.get("/delivery/v1/statistics"))["messages"]
        yield Hour(town, suite, before)


def assert_adds_up(sums: dict[str, int]) -> None:
    assert sums["total"] == sum(sums[status] for status in _STATUSES) == ORDERS
    assert sums["sent"] + sums["unknown"] == ORDERS, sums


@pytest.mark.parametrize(
    "victim",
    ["delivery-worker", "daprd-delivery-worker", "orders-notification-worker", "kafka"],
)
async def test_what_is_killed_in_the_middle_loses_nothing_and_doubles_nothing(hour: Hour, victim: str) -> None:
    sending = asyncio.create_task(hour.send())
    await hour.reached(0.1)
    before = hour.town.kill(victim)
    await sending
    assert_adds_up(await hour.settled())
    await hour.explained()
    await hour.told()

    async def back() -> bool:  # the table is written every two seconds
        again: dict[str, Any] = hour.town.processes()[victim]
        return bool(again["alive"]) and again["pid"] != before

    await hour.suite.eventually(back, _PATIENCE)


async def test_postgres_dies_and_comes_back_and_every_order_has_its_end(hour: Hour) -> None:
    sending = asyncio.create_task(hour.send())
    await hour.reached(0.1)
    hour.town.crash_postgres()
    await sending
    sums = await hour.settled()
    assert_adds_up(sums)
    assert sums["pending"] == 0
    await hour.explained()
    await hour.told()
