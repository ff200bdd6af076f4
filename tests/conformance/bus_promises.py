"""What every adapter of the bus promises to the services. Each adapter's tests inherit this suite."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from libs.contracts.access import TenantChanged
from libs.contracts.envelope import Envelope
from libs.errors import Invalid, Unavailable
from libs.messaging.bus import Subscriber
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from tests.waiting import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Listener:
    """A service's handler. It ignores numbers of other tests, whose events a broker may still deliver."""

    first: int = field(default_factory=lambda: random.randrange(1, 10**6) * 1_000)
    taken: list[Envelope] = field(default_factory=list)
    refuse: dict[int, Exception] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)

    async def __call__(self, batch: Sequence[Envelope]) -> None:
        mine = [one for one in batch if 0 <= one.data.number - self.first < 1_000]
        for one in mine:
            number = one.data.number - self.first
            self.tries[number] = self.tries.get(number, 0) + 1
            if error := self.refuse.get(number):
                raise error
        self.taken += mine

    @property
    def numbers(self) -> list[int]:
        return [one.data.number - self.first for one in self.taken]

    def event(self, number: int) -> Outgoing:
        event = TenantChanged(number=self.first + number, name=f"Straße {number}", default_locale="de", version=1)
        return Outgoing(event, key="a key", tenant=7, mode=2, subject="order-1", traceparent=TRACEPARENT)

    def subscriber(self) -> Subscriber:
        return Subscriber("delivery", TenantChanged.TYPE, self)


@dataclass
class Line:
    """A publisher and a subscriber connected by the bus; `keeper` stores the subscriber's retries and dead letters."""

    publisher: Database
    keeper: Database
    listener: Listener

    async def publish(self, *numbers: int, then: str = "") -> None:
        async with self.publisher.transaction() as connection:
            await append(connection, [self.listener.event(number) for number in numbers])
            if then:
                await connection.execute(then)

    async def ask(self, statement: str, database: Database | None = None) -> list[Any]:
        async with (database or self.keeper).acquire() as connection:
            return list(await connection.fetch(statement))

    async def hurry(self) -> None:
        """Make every pending redelivery due now."""
        await self.ask("update outbox_delivery set due_at = now()")


@asynccontextmanager
async def opened(dsn: str, schema: str) -> AsyncIterator[Database]:
    database = Database(dsn, schema)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


class BusPromises:
    """The shared tests; a subclass provides the fixture `line`."""

    async def test_committed_events_arrive_intact_and_leave_the_outbox(self, line: Line) -> None:
        await line.publish(*range(250))
        await eventually(lambda: set(line.listener.numbers) == set(range(250)))
        one = line.listener.taken[0]
        assert (one.type, one.source, one.tenant, int(one.mode)) == ("tenant.changed", "access", 7, 2)
        assert (one.key, one.subject, one.traceparent) == ("a key", "order-1", TRACEPARENT)
        assert one.data.name.startswith("Straße ")

        async def empty() -> bool:
            return not await line.ask("select from outbox", line.publisher)

        await eventually(empty)

    async def test_a_temporarily_failing_event_is_retried_without_delaying_others(self, line: Line) -> None:
        line.listener.refuse[1] = Unavailable("later")
        await line.publish(0, 1, 2)
        await eventually(lambda: {0, 2} <= set(line.listener.numbers))
        line.listener.refuse.clear()
        await eventually(lambda: 1 in line.listener.numbers)
        assert await line.ask("select from dead_letter where reason like '%later%'") == []

    async def test_a_permanently_failing_event_becomes_a_dead_letter_with_its_reason(self, line: Line) -> None:
        line.listener.refuse[1] = ValueError(f"never {line.listener.first}")
        await line.publish(1)

        async def dead() -> list[Any]:
            await line.hurry()
            return await line.ask(f"select * from dead_letter where reason like '%never {line.listener.first}%'")

        (letter,) = await eventually(dead)
        assert (letter["subscriber"], letter["attempts"], letter["subject"]) == ("delivery", 8, "order-1")
        assert line.listener.tries[1] >= 8

    async def test_an_invalid_event_becomes_a_dead_letter_at_once(self, line: Line) -> None:
        line.listener.refuse[1] = Invalid(f"no such thing {line.listener.first}")
        await line.publish(0, 1)
        look = f"select * from dead_letter where reason like '%no such thing {line.listener.first}%'"
        (letter,) = await eventually(lambda: line.ask(look))
        assert (letter["tenant"], letter["mode"], letter["attempts"]) == (7, 2, 1)
        await eventually(lambda: 0 in line.listener.numbers)

    async def test_an_unreadable_event_becomes_a_dead_letter_and_blocks_nothing(self, line: Line) -> None:
        await line.publish(1, then="update outbox set payload = '{'")
        await line.publish(2)
        await eventually(lambda: 2 in line.listener.numbers)
        look = "select payload from dead_letter where reason like 'unreadable%' and payload = '{'"
        await eventually(lambda: line.ask(look))
        assert 1 not in line.listener.numbers

    async def test_duplicate_deliveries_share_an_event_id(self, line: Line) -> None:
        columns = "event_id, type, source, subject, tenant, mode, lane, partition_key, payload, traceparent, entries"
        await line.publish(1, then=f"insert into outbox ({columns}) select {columns} from outbox")
        await eventually(lambda: len(line.listener.numbers) >= 2)  # a broker may deliver each of them again
        assert set(line.listener.numbers) == {1}
        assert len({one.id for one in line.listener.taken}) == 1
