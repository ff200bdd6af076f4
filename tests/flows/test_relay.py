"""The embedded bus keeps its promises: nothing committed is lost, poison stops nobody, owed work is remembered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from msgspec import structs

from libs.contracts.access import TenantChanged, TopicChanged
from libs.contracts.envelope import Envelope
from libs.errors import DepescheError, Invalid, Unavailable
from libs.messaging.bus import Subscriber
from libs.messaging.outbox import Outgoing, append
from libs.messaging.postgres import Relay
from libs.storage.database import Database
from tests.conftest import by_role

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def access(database: str) -> AsyncIterator[Database]:
    opened = Database(by_role(database, "access"), "access")
    await opened.open()
    yield opened
    await opened.close()


def tenant(number: int) -> Outgoing:
    event = TenantChanged(number=number, name=f"Tenant {number}", default_locale="de", version=1)
    return Outgoing(event, key=str(number), tenant=1, mode=1)


async def publish(access: Database, *events: Outgoing) -> None:
    async with access.transaction() as connection:
        await append(connection, events)


class Listener:
    """Records what it processed; fails as scripted."""

    def __init__(self, app_id: str) -> None:
        self.app_id = app_id
        self.taken: list[int] = []
        self.batches: list[int] = []
        self.refuse: dict[int, Exception] = {}

    async def __call__(self, batch: Sequence[Envelope]) -> None:
        self.batches.append(len(batch))
        for envelope in batch:
            if error := self.refuse.get(envelope.data.number):
                raise error
        self.taken += [envelope.data.number for envelope in batch]

    def subscriber(self) -> Subscriber:
        return Subscriber(self.app_id, TenantChanged.TYPE, self)


async def make_due(access: Database, later: str = "0 hours") -> None:
    async with access.acquire() as connection:
        await connection.execute("update outbox_delivery set due_at = now() + $1::text::interval", later)


async def count(access: Database, table: str) -> int:
    async with access.acquire() as connection:
        return int(await connection.fetchval(f"select count(*) from {table}"))


async def test_a_batch_reaches_every_subscriber_once_and_leaves_nothing(access: Database) -> None:
    first, second = Listener("first"), Listener("second")
    await publish(access, *(tenant(n) for n in range(5)))
    relay = Relay(access, [first.subscriber(), second.subscriber()])
    assert await relay.publish_once() == 5
    assert first.taken == second.taken == [0, 1, 2, 3, 4]
    assert first.batches == [5]
    assert await count(access, "outbox") == 0


async def test_a_poison_event_is_kept_with_its_reason_and_stops_no_neighbour(access: Database) -> None:
    listener = Listener("listener")
    listener.refuse[2] = Invalid("no such thing")
    await publish(access, *(structs.replace(tenant(n), traceparent=TRACE) for n in range(4)))
    async with access.acquire() as connection:
        await connection.execute("update outbox set created_at = '2027-03-01'")
    await Relay(access, [listener.subscriber()]).publish_once()
    assert listener.taken == [0, 1, 3]
    async with access.acquire() as connection:
        row = await connection.fetchrow("select subscriber, reason, traceparent, created_at from dead_letter")
    assert (row["subscriber"], row["traceparent"], row["created_at"].year) == ("listener", TRACE, 2027)
    assert "no such thing" in row["reason"]
    assert await count(access, "outbox") == 0


async def test_what_one_subscriber_owes_is_tried_again_for_it_alone(access: Database) -> None:
    steady, shaky = Listener("steady"), Listener("shaky")
    shaky.refuse[1] = Unavailable("later")
    await publish(access, tenant(1))
    relay = Relay(access, [steady.subscriber(), shaky.subscriber()])
    await relay.publish_once()
    assert await count(access, "outbox_delivery") == 1
    shaky.refuse.clear()
    await make_due(access, "1 hour")
    assert (await relay.redeliver_once(), shaky.taken) == (0, [])  # not before it is due
    await make_due(access)
    assert await relay.redeliver_once() == 1
    assert (steady.taken, shaky.taken) == ([1], [1])
    assert await count(access, "outbox") == await count(access, "outbox_delivery") == 0


async def test_an_event_stays_until_all_have_it_who_are_owed_it(access: Database) -> None:
    first, second = Listener("first"), Listener("second")
    first.refuse[1] = second.refuse[1] = Unavailable("later")
    await publish(access, tenant(1))
    relay = Relay(access, [first.subscriber(), second.subscriber()])
    await relay.publish_once()
    for listener in (first, second):
        listener.refuse.clear()
        await make_due(access)
        await relay.redeliver_once()
    assert first.taken == second.taken == [1]
    assert await count(access, "outbox") == 0


async def test_who_always_fails_ends_as_a_dead_letter_not_a_loop(access: Database) -> None:
    listener = Listener("listener")
    listener.refuse[1] = DepescheError("never")
    await publish(access, tenant(1))
    relay = Relay(access, [listener.subscriber()], max_attempts=3)
    await relay.publish_once()
    for _ in range(5):
        await make_due(access)
        await relay.redeliver_once()
    assert len(listener.batches) == 3
    assert await count(access, "dead_letter") == 1
    assert await count(access, "outbox") == 0


async def test_an_outage_longer_than_all_tries_buries_nothing(access: Database) -> None:
    listener = Listener("listener")
    listener.refuse[1] = Unavailable("the store is away")
    await publish(access, tenant(1))
    relay = Relay(access, [listener.subscriber()], max_attempts=3)
    await relay.publish_once()
    for attempts in (2, 3, 1_500):  # the last: hours later
        async with access.acquire() as connection:
            await connection.execute("update outbox_delivery set due_at = now(), attempts = $1", attempts)
        await relay.redeliver_once()
    assert await count(access, "dead_letter") == 0
    listener.refuse.clear()
    await make_due(access)
    await relay.redeliver_once()
    assert listener.taken == [1]
    assert await count(access, "outbox") == 0


async def test_a_crash_while_handling_delivers_again(access: Database) -> None:
    listener = Listener("listener")
    started = asyncio.Event()

    async def hang(_: Sequence[Envelope]) -> None:
        started.set()
        await asyncio.Event().wait()

    await publish(access, tenant(7))
    crashed = asyncio.create_task(Relay(access, [Subscriber("listener", TenantChanged.TYPE, hang)]).publish_once())
    await started.wait()
    crashed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await crashed
    await Relay(access, [listener.subscriber()]).publish_once()
    assert listener.taken == [7]


async def test_two_relays_share_an_outbox_without_taking_a_row_twice(access: Database) -> None:
    listener = Listener("listener")
    await publish(access, *(tenant(n) for n in range(40)))
    relays = [Relay(access, [listener.subscriber()], most_rows=10) for _ in range(2)]
    for _ in range(3):
        await asyncio.gather(*(relay.publish_once() for relay in relays))
    assert sorted(listener.taken) == list(range(40))


async def test_an_unreadable_payload_is_kept_not_looped(access: Database) -> None:
    listener = Listener("listener")
    topic = TopicChanged(name="x", category="marketing", active=True, version=1)
    await publish(access, Outgoing(topic, key="x", tenant=1, mode=1))
    async with access.acquire() as connection:
        await connection.execute("update outbox set type = 'tenant.changed', payload = '{'")
    await Relay(access, [listener.subscriber()]).publish_once()
    assert listener.taken == []
    assert await count(access, "dead_letter") == 1


async def test_traceparent_and_subject_travel_with_the_event(access: Database) -> None:
    seen: list[Envelope] = []

    async def keep(batch: Sequence[Envelope]) -> None:
        seen.extend(batch)

    event = TenantChanged(number=3, name="Shop", default_locale="de", version=2)
    await publish(access, Outgoing(event, "3", 3, 2, subject="order-1", traceparent=TRACE))
    await Relay(access, [Subscriber("x", TenantChanged.TYPE, keep)]).publish_once()
    assert seen[0].traceparent == TRACE
    assert (seen[0].subject, seen[0].tenant, seen[0].data) == ("order-1", 3, event)
    assert seen[0].time <= datetime.now(UTC)


async def test_many_events_of_one_commit_share_a_row_and_arrive_one_by_one(access: Database) -> None:
    listener = Listener("listener")
    await publish(access, *(tenant(n) for n in range(300)))
    assert await count(access, "outbox") < 30
    relay = Relay(access, [listener.subscriber()])
    await relay.publish_once()
    assert sorted(listener.taken) == list(range(300))
    assert await count(access, "outbox") == 0


async def test_an_event_of_a_bundle_that_fails_is_tried_again_without_its_neighbours(access: Database) -> None:
    listener = Listener("listener")
    listener.refuse = {3: Unavailable("later"), 5: Invalid("never")}
    await publish(access, *(tenant(n) for n in range(20)))
    relay = Relay(access, [listener.subscriber()])
    await relay.publish_once()
    assert sorted(listener.taken) == [n for n in range(20) if n not in (3, 5)]
    assert (await count(access, "outbox"), await count(access, "dead_letter")) == (1, 1)
    listener.refuse.clear()
    await make_due(access)
    await relay.redeliver_once()
    assert listener.taken[-1] == 3
    assert await count(access, "outbox") == 0


async def test_subject_key_and_trace_of_each_event_survive_a_bundle(access: Database) -> None:
    seen: list[Envelope] = []

    async def keep(batch: Sequence[Envelope]) -> None:
        seen.extend(batch)

    event = TenantChanged(number=3, name="Käse 🧀", default_locale="de", version=2)
    await publish(access, *(Outgoing(event, f"k{n}", 3, 2, f"order-{n}", TRACE) for n in range(10)))
    await Relay(access, [Subscriber("x", TenantChanged.TYPE, keep)]).publish_once()
    assert [(e.subject, e.key, e.traceparent, e.data) for e in seen] == [
        (f"order-{n}", f"k{n}", TRACE, event) for n in range(10)
    ]
    assert len({e.id for e in seen}) == 10


async def test_an_event_that_is_alone_in_its_kind_is_readable_among_bundles(access: Database) -> None:
    listener = Listener("listener")
    alone = TopicChanged(name="x", category="marketing", active=True, version=1)
    seen: list[Envelope] = []

    async def keep(batch: Sequence[Envelope]) -> None:
        seen.extend(batch)

    await publish(access, *(tenant(n) for n in range(10)), Outgoing(alone, key="x", tenant=1, mode=1))
    await Relay(access, [listener.subscriber(), Subscriber("x", TopicChanged.TYPE, keep)]).publish_once()
    assert (sorted(listener.taken), [e.data for e in seen]) == (list(range(10)), [alone])
    assert await count(access, "dead_letter") == 0


async def test_one_unreadable_event_of_a_bundle_takes_no_neighbour_along(access: Database) -> None:
    listener = Listener("listener")
    await publish(access, *(tenant(n) for n in range(10)))
    async with access.acquire() as connection:
        spoilt = "convert_to(replace(convert_from(payload, 'UTF8'), '\"number\":4,', ''), 'UTF8')"
        await connection.execute(f"update outbox set payload = {spoilt}")
    await Relay(access, [listener.subscriber()]).publish_once()
    assert sorted(listener.taken) == [n for n in range(10) if n != 4]
    async with access.acquire() as connection:
        row = await connection.fetchrow("select payload, reason from dead_letter")
    assert b'"name":"Tenant 4"' in row["payload"]
    assert "number" in row["reason"]


async def test_who_hangs_holds_a_batch_up_for_one_time_out(access: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.messaging.delivering.HANDLER_SECONDS", 0.1)
    asked: list[int] = []
    clock = SimpleNamespace(monotonic=lambda: 20.0 * len(asked))  # each call takes 20 s of the 30 of all
    for module in ("delivering", "postgres"):
        monkeypatch.setattr(f"libs.messaging.{module}.time", clock)

    async def hang(batch: Sequence[Envelope]) -> None:
        asked.append(len(batch))
        await asyncio.Event().wait()

    await publish(access, *(tenant(n) for n in range(5)))
    relay = Relay(access, [Subscriber("listener", TenantChanged.TYPE, hang)])
    await relay.publish_once()
    assert asked == [5]
    assert await count(access, "outbox_delivery") == 5

    await make_due(access)
    assert await relay.redeliver_once() == 2
    async with access.acquire() as connection:
        tries = [row[0] for row in await connection.fetch("select attempts from outbox_delivery order by attempts")]
    assert tries == [1, 1, 1, 2, 2]
