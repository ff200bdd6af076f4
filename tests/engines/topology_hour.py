"""An hour of a shop over production's topology: the orders it sends and their outcomes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.__main__ import SERVICES
from tests.engines.topology_world import Town
from tests.flows.whole_suite import Suite, open_shop

ORDERS = 300
PATIENCE = 150.0
STATUSES = ("sent", "failed", "skipped", "suppressed", "unknown", "pending")
_DATA = {"total": "19.90", "currency": "EUR", "items": [{"name": "Lampe", "quantity": 1}]}
_TWICE = """
select r.subject from delivery.request r where r.subject = any($1) group by 1 having count(*) <> 1
union all select e.subject from orders_notification.event e where e.subject = any($1) group by 1 having count(*) <> 1
union all select r.subject from delivery.request r join delivery.message m on m.request_id = r.id
where r.subject = any($1) group by 1 having count(*) <> 1
"""
_OPEN = """
select count(*) from delivery.request r
where r.subject = any($1) and (r.settled_at is null or exists (select from delivery.work w where w.request_id = r.id))
"""


async def open_town(town: Town) -> None:
    """The example shop, and a customer for each order."""
    async with town.suite() as suite:
        await open_shop(suite)
        for number in range(ORDERS):
            mail = {"first_name": "Ada", "emails": [f"ada.{number}@mail.example"]}
            await suite.put(f"/tokens/v1/recipients/customer:{number}", mail)


@dataclass
class Hour:
    """Orders sent from now on. `before`: the ledger's sums at the beginning."""

    town: Town
    suite: Suite
    began: datetime
    before: dict[str, int]
    orders: list[str] = field(default_factory=list)

    async def messages(self) -> dict[str, int]:
        """The ledger's sums since the hour began; {} if delivery does not answer."""
        try:
            answer = await self.suite.client.get("/delivery/v1/statistics")
        except httpx.HTTPError:
            return {}
        if answer.status_code != 200:
            return {}
        now = answer.json()["messages"]
        return {name: now[name] - self.before.get(name, 0) for name in ("total", *STATUSES)}

    async def send(self, count: int = ORDERS) -> None:
        """One order from each of so many customers."""
        await self.say("order.placed", [_DATA | {"customer": f"customer:{n}", "order_id": n} for n in range(count)])

    async def say(self, type_: str, all_data: Sequence[dict[str, Any]]) -> None:
        """Send all events in one stream, retried until it is accepted: each has its own id."""
        events = list(_events(type_, all_data))
        self.orders += [event["subject"] for event in events]
        lines, kind = "\n".join(map(json.dumps, events)), {"content-type": "application/x-ndjson"}

        async def taken() -> bool:
            try:
                answer = await self.suite.client.post("/orders-notification/v1/events", content=lines, headers=kind)
            except httpx.HTTPError:
                return False
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            said = [json.loads(line) for line in answer.text.splitlines()] if answer.status_code == 202 else []
            return len(said) == len(events) and {line["status"] for line in said} <= {"accepted", "duplicate"}

        await self.suite.eventually(taken, PATIENCE)

    async def reached(self, count: int) -> None:
        """Wait until so many of all are final."""

        async def so_far() -> bool:
            sums = await self.messages()
            return bool(sums) and sums["total"] - sums["pending"] >= count

        await self.suite.eventually(so_far, PATIENCE)

    async def settled(self, about: str = "") -> dict[str, int]:
        """Return the sums once every order is settled; they add up, and no table has an order twice. `about`: for
        the failure."""
        found: dict[str, int] = {}

        async def done() -> bool:
            nonlocal found
            found = await self.messages()
            if not found or found["total"] != len(self.orders) or found["pending"]:
                return False
            # an unknown may still be resent; its sum is read after the last work is gone
            open_, found = await self.town.ask(_OPEN, self.orders), await self.messages()
            return open_ == [(0,)] and bool(found)

        try:
            await self.suite.eventually(done, PATIENCE)
        except AssertionError:
            pytest.fail(f"{about}: {len(self.orders)} orders are not settled: {found}")
        assert found["total"] == sum(found[status] for status in STATUSES), f"{about}: the sum is off: {found}"
        assert await self.town.ask(_TWICE, self.orders) == [], f"{about}: an inbox contains a duplicate"
        return found

    async def explained(self, about: str = "") -> int:
        """Check that no attempt was called twice and that every duplicate acceptance has an unknown attempt. Return
        the number of duplicates."""
        repeats = self.town.simulator("repeats")["items"]
        for repeat in repeats:
            attempts = [call["attempt"] for call in repeat["accepted"]]
            assert len(attempts) == len(set(attempts)), f"{about}: {repeat} was called twice as one attempt"
            shown = await self.suite.get(f"/delivery/v1/messages/{repeat['message']}")
            unknown = [attempt for attempt in shown["attempts"] if attempt["status"] == "unknown"]
            assert len(attempts) - 1 <= len(unknown), f"{about}: {shown} was repeated without a reason"
        return len(repeats)

    async def told(self, sums: dict[str, int], about: str = "") -> None:
        """Check that history has each sent message once and knows the last order's outcome, whatever was down
        meanwhile, and that there are no dead letters."""
        audited = -1

        async def all_audited() -> bool:
            nonlocal audited
            asked = {"by": "status", "status": "sent", "from": self.began.isoformat()}
            answer = await self.suite.client.get("/history/v1/audit/counts", params=asked)
            if answer.status_code != 200:
                return False
            audited = answer.json()["total"]
            return audited == sums["sent"]

        async def why() -> bool:
            answer = await self.suite.client.get("/history/v1/why", params={"order": self.orders[-1]})
            return answer.status_code == 200 and answer.json()["verdict"] in ("sent", "unknown", "sent_twice")

        for true in (all_audited, why):
            try:
                await self.suite.eventually(true, PATIENCE)
            except AssertionError:
                pytest.fail(f"{about}: history tells of {audited} sent messages and not of {sums['sent']}")
        for service in SERVICES:
            letters = await self.town.ask(f"select type, reason from {service.replace('-', '_')}.dead_letter")
            assert letters == [], f"{about}: {service} has dead letters"


def _events(type_: str, all_data: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for data in all_data:
        id_ = uuid4().hex[:12]
        event = {"specversion": "1.0", "source": "https://shop.example", "type": type_, "id": id_, "subject": id_}
        yield event | {"data": data}
