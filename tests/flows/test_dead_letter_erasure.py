"""Dead letters and erasure: nothing in them names an erased recipient, others' events are not lost, all of them end."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from libs.auth import Principal
from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientChanged, RecipientErased
from libs.errors import Invalid
from libs.ids import notification_id, uuid7
from libs.messaging.bus import Subscriber
from libs.messaging.dead_letters import DeadLetters, Wanted
from libs.messaging.erasing import without_letters
from libs.messaging.keeping import Kept, forget_old
from libs.messaging.outbox import FIRST_LANE, Outgoing, append
from libs.messaging.postgres import Relay
from libs.service import Runtime, Service
from libs.storage.database import Database
from services.bounce.app import create_service as bounce
from services.delivery.app import create_service as delivery
from services.history.app import create_service as history
from services.orders_notification.app import create_service as orders_notification
from tests.conftest import by_role

ANN, BOB = "customer:ann", "customer:bob"
REALM = (1, int(Mode.LIVE))


class Broken:
    """A subscriber that fails with a person's name in its words, until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.taken: list[Any] = []

    async def __call__(self, batch: Sequence[Envelope]) -> None:
        if not self.mended:
            raise Invalid("There is no place for Ann Example.")
        self.taken += [envelope.data for envelope in batch]


class World:
    """A service's outbox with one subscriber that fails."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broken = Broken()
        types = (NotificationRequested.TYPE, RecipientChanged.TYPE, RecipientErased.TYPE)
        self.relay = Relay(database, [Subscriber("delivery", type_, self.broken) for type_ in types])

    async def publish(self, event: Any, key: str = ANN, *, subject: str | None = "B-1") -> None:
        async with self.database.transaction() as connection:
            outgoing = Outgoing(event, key, *REALM, subject=subject, source="orders-notification", lane=FIRST_LANE)
            await append(connection, [outgoing])
        await self.relay.publish_once()

    async def erase(self, key: str = ANN, mode: Mode = Mode.LIVE) -> None:
        """As the bus delivers it to a service."""
        now = datetime.now(UTC)
        event = RecipientErased(recipient=key, at=now)
        envelope = Envelope(
            id=uuid7(), type=event.TYPE, source=event.SOURCE, time=now, tenant=1, mode=mode, key=key, data=event
        )

        async def nothing(_: Any) -> None:
            return None

        await without_letters(self.database, nothing, [envelope])

    async def letters(self) -> list[dict[str, Any]]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch("select * from dead_letter order by dead_at, id")
        return [dict(row) | {"payload": json.loads(row["payload"])} for row in rows]

    async def execute(self, query: str, *values: Any) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(query, *values)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    opened = Database(by_role(database, "orders_notification"), "orders_notification")
    await opened.open()
    yield World(opened)
    await opened.close()


def requested(*keys: str) -> NotificationRequested:
    cause = uuid7()
    recipients = tuple(
        RequestedRecipient(key=key, notification_id=notification_id(cause, "c", key), variables={"of": key})
        for key in keys
    )
    return NotificationRequested(
        request_id=uuid4(), cause_id=cause, cause_kind="event", release_id=uuid4(), communication="c", lane="bulk",
        on_unknown="leave", expires_at=datetime(2100, 1, 1, tzinfo=UTC), event={"data": {"gift": "for Ann Example"}},
        recipients=recipients,
    )  # fmt: skip


def changed(key: str = ANN) -> RecipientChanged:
    return RecipientChanged(recipient=key, fields=("emails",), version=2, at=datetime.now(UTC), note="Ann called")


async def test_a_request_about_an_erased_recipient_keeps_no_name_and_no_variables(world: World) -> None:
    await world.publish(requested(ANN), subject=ANN)
    await world.erase()
    (letter,) = await world.letters()
    assert "ann" not in str(letter).lower()
    assert letter["payload"]["event"] == {}
    assert letter["reason"].startswith("invalid: ")


async def test_the_others_of_a_batched_request_are_written_to_when_it_is_replayed(world: World) -> None:
    await world.publish(requested(ANN, BOB))
    await world.erase()
    (letter,) = await world.letters()
    assert [one["key"] for one in letter["payload"]["recipients"]] == ["", BOB]
    world.broken.mended = True
    letters, now = DeadLetters(world.database, "orders-notification"), datetime.now(UTC)
    operator = Principal(1, Mode.LIVE, "key-1", frozenset())
    assert len((await letters.replay(operator, Wanted(*REALM, [letter["id"]]), 10, now)).ids) == 1
    await world.relay.redeliver_once()
    (taken,) = world.broken.taken
    assert [(one.key, one.variables) for one in taken.recipients] == [("", None), (BOB, {"of": BOB})]
    assert taken.event["data"] == {"gift": "for Ann Example"}  # the others' text needs it, as in delivery's own store


async def test_what_is_given_up_after_the_erasure_is_buried_nameless(world: World) -> None:
    """It was being retried, or had not been published yet, while its recipient was erased."""
    event = changed()
    await world.erase()
    await world.publish(event)
    (letter,) = await world.letters()
    assert "ann" not in str(letter).lower()


async def test_letters_about_others_and_about_who_came_back_stay_as_they_are(world: World) -> None:
    await world.publish(changed(BOB), BOB)
    await world.erase()
    await world.publish(changed())
    assert [letter["payload"]["recipient"] for letter in await world.letters()] == [BOB, ANN]


@pytest.mark.parametrize(("tenant", "mode"), [(1, Mode.TEST), (2, Mode.LIVE)], ids=["another mode", "another tenant"])
async def test_a_namesake_of_another_tenant_or_mode_stays(world: World, tenant: int, mode: Mode) -> None:
    await world.publish(changed())
    await world.execute("update dead_letter set tenant = $1, mode = $2", tenant, int(mode))
    await world.erase()
    (letter,) = await world.letters()
    assert (letter["payload"]["recipient"], letter["payload"]["note"]) == (ANN, "Ann called")


async def test_an_erasure_in_test_mode_takes_nothing_from_a_live_namesake(world: World) -> None:
    event = changed()
    await world.erase(mode=Mode.TEST)
    await world.publish(event)
    (letter,) = await world.letters()
    assert letter["payload"]["recipient"] == ANN


async def test_an_erasure_that_failed_stays_until_it_is_replayed(world: World) -> None:
    await world.publish(RecipientErased(recipient=ANN, at=datetime.now(UTC)))
    await world.publish(changed(BOB), BOB)
    await world.erase()
    await world.execute("update dead_letter set dead_at = now() - interval '31 days'")
    await forget_old(world.database, Kept(30, 400))
    (letter,) = await world.letters()
    assert (letter["type"], letter["payload"]["recipient"]) == (RecipientErased.TYPE, ANN)


async def test_letters_end_after_the_days_for_which_they_are_kept(world: World) -> None:
    await world.publish(changed())
    await world.execute("update dead_letter set dead_at = now() - interval '29 days'")
    await forget_old(world.database, Kept(30, 400))
    assert len(await world.letters()) == 1
    await Relay(world.database, [], kept=Kept(28, 400))._forget_old()
    assert await world.letters() == []


async def test_who_was_erased_is_forgotten_at_last(world: World) -> None:
    await world.erase()
    await world.execute("update erased set at = now() - interval '399 days'")
    await forget_old(world.database, Kept(30, 400))
    await world.erase(BOB)
    async with world.database.acquire() as connection:
        assert await connection.fetchval("select count(*) from erased") == 2
    await forget_old(world.database, Kept(30, 398))
    async with world.database.acquire() as connection:
        assert await connection.fetchval("select count(*) from erased") == 1


async def test_a_letter_that_cannot_be_read_goes_if_it_contains_the_key(world: World) -> None:
    await world.publish(changed())
    await world.publish(changed(BOB), BOB)
    await world.execute("update dead_letter set type = 'recipient.merged'")  # of a version that this one does not know
    await world.erase()
    assert [letter["payload"]["recipient"] for letter in await world.letters()] == [BOB]


async def test_an_erasure_does_not_wait_for_what_is_buried_in_the_same_turn(world: World) -> None:
    async def erase(_: Sequence[Envelope]) -> None:
        await world.erase()

    async with world.database.transaction() as connection:
        events = [
            Outgoing(changed(), ANN, *REALM),
            Outgoing(RecipientErased(recipient=ANN, at=datetime.now(UTC)), ANN, *REALM),
        ]
        await append(connection, events)
        await connection.execute("update outbox set published_at = now()")
        await connection.execute(
            "insert into outbox_delivery (outbox_id, subscriber, attempts, due_at, error)"
            " select id, 'delivery', 0, now() - interval '1 s' * (1000 - id), '' from outbox"
        )
    subscribers = [
        Subscriber("delivery", RecipientChanged.TYPE, world.broken),
        Subscriber("delivery", RecipientErased.TYPE, erase),
    ]
    assert await Relay(world.database, subscribers).redeliver_once() == 2
    async with world.database.acquire() as connection:
        assert await connection.fetchval("select count(*) from outbox_delivery") == 0
    (letter,) = await world.letters()
    assert "ann" not in str(letter).lower()


@pytest.mark.parametrize("make", [bounce, delivery, history, orders_notification])
async def test_every_service_that_hears_of_an_erasure_covers_its_dead_letters(make: Any, runtime: Runtime) -> None:
    service: Service = make(runtime)
    handlers = [one.handle for one in service.subscribers() if one.event_type == RecipientErased.TYPE]
    assert [getattr(handle, "func", None) for handle in handlers] == [without_letters]
