"""Erasure in the ledger while something is on its way: a request, a leased chunk, a call, a receipt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.delivery import MessageRecorded, NotificationRequested, ReceiptRecorded, RequestedRecipient
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode, ReceiptKind
from libs.contracts.reasons import Reason
from libs.ids import time_of, uuid7
from services.delivery.adapters.postgres import accept
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.bodies import Body
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.intake import new_request
from services.delivery.domain.outbound import Outbound
from services.delivery.domain.outcomes import Deferred, Outcome, Rejected, Sent
from services.delivery.domain.releases import Release
from services.delivery.ports import Question
from tests.flows.delivery_world import KEYRING, TENANT, World, now, opened, requested

ANN, BOB = "customer:ann", "customer:bob"
SENT, FAILED, SKIPPED = 2, 3, 4
ERASED = (SKIPPED, Reason.RECIPIENT_ERASED)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    ledger = await opened(database)
    world = World(ledger, now)
    world.tokens.add(ANN, "email")
    world.tokens.add(BOB, "email")
    yield world
    await ledger.close()


async def erase(world: World, key: str = ANN, *, ago: timedelta = timedelta()) -> None:
    await world.ledger.erase([(TENANT, Mode.LIVE, key, now() - ago)])


async def body_of(world: World, envelope: Envelope) -> Body:
    id_ = envelope.data.request_id
    return Body(KEYRING, id_, await world.value("select body from request where id = $1", id_))


async def late(world: World, release: Release, *keys: str) -> Envelope:
    """A request that was on its way while `ann` was erased. She has since come back, so she would be found."""
    envelope = requested(release, keys, now())
    await erase(world)
    await world.ledger.accept([new_request(envelope, KEYRING)])
    return envelope


async def test_a_request_that_arrives_after_the_erasure_is_not_sent_and_keeps_nothing(world: World) -> None:
    envelope = await late(world, await world.release(["email"]), ANN)
    body = await body_of(world, envelope)
    assert (body.slot(0), body.event) == (None, None)
    assert await world.value("select marks from request") == bytes(8)
    await world.send_all()
    assert world.provider.calls == []
    assert await world.statuses() == {ERASED: 1}
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "skipped": 1}
    assert ANN not in str(await world.events(MessageRecorded.TYPE))


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_erasures_the_later_one_counts_in_any_order_of_arrival(world: World, together: bool) -> None:
    first, second = (((TENANT, Mode.LIVE, ANN, now() + timedelta(minutes=ago)),) for ago in (1, -60))
    for erased in [first + second] if together else [first, second]:
        await world.ledger.erase(erased)
    await world.request(await world.release(["email"]), [ANN])  # between the two
    await world.send_all()
    assert await world.statuses() == {ERASED: 1}


async def test_the_others_of_a_late_request_are_written_to(world: World) -> None:
    envelope = await late(world, await world.release(["email"]), ANN, BOB)
    await world.send_all()
    assert await world.statuses() == {ERASED: 1, (SENT, 0): 1}
    body = await body_of(world, envelope)
    assert body.event is not None
    assert [slot.recipient for n in (0, 1) if (slot := body.slot(n))] == [BOB]


async def test_who_only_shares_the_mark_of_an_erased_recipient_is_written_to(world: World) -> None:
    """Marks are hashes of eight bytes: the name itself decides."""
    release = await world.release(["email"])
    ann, bob = [(await world.request(release, [key])).data.request_id for key in (ANN, BOB)]
    await world.execute("update request set marks = (select marks from request where id = $1) where id = $2", ann, bob)
    await erase(world)
    await world.send_all()
    assert await world.statuses() == {ERASED: 1, (SENT, 0): 1}


async def test_who_came_back_is_written_to_again(world: World) -> None:
    await erase(world, ago=timedelta(minutes=1))
    await world.request(await world.release(["email"]), [ANN])
    await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1}


async def test_a_request_replayed_without_the_erased_name_keeps_its_account(world: World) -> None:
    """As a dead letter is replayed after the erasure: with the notification's id, and no key."""
    envelope = requested(await world.release(["email"]), [ANN, BOB, "customer:eve"], now())
    command: NotificationRequested = envelope.data
    recipients = tuple(
        RequestedRecipient(key="" if one.key != BOB else BOB, notification_id=one.notification_id)
        for one in command.recipients
    )
    values = {name: getattr(command, name) for name in command.__struct_fields__} | {"recipients": recipients}
    nameless = Envelope(
        id=uuid7(), type=envelope.type, source=envelope.source, time=now(), tenant=TENANT, mode=Mode.LIVE,
        key=envelope.key, data=NotificationRequested(**values),
    )  # fmt: skip
    await world.ledger.accept([new_request(nameless, KEYRING)])
    await world.send_all()
    assert await world.statuses() == {ERASED: 2, (SENT, 0): 1}


async def test_who_is_erased_between_lease_and_claim_is_not_written_to(world: World) -> None:
    await world.request(await world.release(["email"]), [ANN, BOB])
    resolve = world.tokens.resolve

    async def resolve_then_erase(question: Question) -> Any:
        found = await resolve(question)
        await erase(world)
        return found

    world.tokens.resolve = resolve_then_erase  # type: ignore[method-assign]
    await world.send_all()
    assert await world.statuses() == {ERASED: 1, (SENT, 0): 1}
    (row,) = await world.fetch("select recipient_id, detail from message where status = $1", SKIPPED)
    assert tuple(row) == (None, None)


async def test_who_is_erased_before_a_retry_is_not_written_to(world: World) -> None:
    """The first attempt was put off by the provider; the row exists already when the retry is prepared."""
    world.provider.answer = lambda _: Deferred(Reason.THROTTLED, "later", 60.0)
    await world.request(await world.release(["email"]), [ANN])
    await world.send_all()
    world.provider.answer = lambda _: Sent("ref")
    calls, resolve = len(world.provider.calls), world.tokens.resolve

    async def resolve_then_erase(question: Question) -> Any:
        found = await resolve(question)
        await erase(world)
        return found

    world.tokens.resolve = resolve_then_erase  # type: ignore[method-assign]
    await world.execute("update work set due_at = now() - interval '1 minute'")
    await world.send_all()
    assert len(world.provider.calls) == calls
    assert await world.statuses() == {ERASED: 1}


async def test_the_providers_words_are_not_kept_of_who_is_erased_during_the_call(world: World) -> None:
    def refuse(_: Outbound) -> Outcome:
        return Rejected(Reason.PROVIDER_REJECTED, "550 Ann Example moved to Vienna", code=550)

    send = world.provider.send

    async def erase_then_answer(*arguments: Any) -> None:
        await erase(world)
        await send(*arguments)

    world.provider.answer = refuse
    world.provider.send = erase_then_answer  # type: ignore[method-assign]
    await world.request(await world.release(["email"]), [ANN])
    await world.send_all()
    assert [tuple(row) for row in await world.fetch("select status, detail from message")] == [(FAILED, None)]


async def test_no_address_is_stored_of_a_refusal(world: World) -> None:
    """Its row outlives the request's body, by which alone an erasure finds it."""
    world.provider.answer = lambda _: Rejected(Reason.PROVIDER_REJECTED, "550 <ann@mail.example> unknown", code=550)
    await world.request(await world.release(["email"]), [ANN])
    await world.send_all()
    assert await world.value("select detail from message") == "550 <address> unknown"


async def receipt(world: World) -> None:
    id_, address = (await world.fetch("select notification_id, address_id from message"))[0]
    news = ReceiptNews(
        "smtp", f"e-{uuid7()}", id_, address, 1, ReceiptKind.BOUNCED, now(), Reason.PROVIDER_GAVE_UP,
        detail="Ann Example moved to Vienna",
    )  # fmt: skip
    assert (await world.ledger.receive([news])).new == 1


@pytest.mark.parametrize("erased_first", [True, False])
async def test_what_a_receipt_says_is_not_kept_of_an_erased_recipient(world: World, erased_first: bool) -> None:
    await world.request(await world.release(["email"]), [ANN])
    await world.send_all()
    if erased_first:
        await erase(world)
        await receipt(world)
    else:
        await receipt(world)
        await erase(world)
    assert await world.value("select detail from receipt") is None
    assert await world.value("select detail from message") is None
    (told,) = await world.events(ReceiptRecorded.TYPE)
    assert told["receipts"][0]["erased"] is erased_first  # for those who read the words: they are not to store them


async def test_the_suite_is_told_that_a_messages_recipient_was_erased(world: World) -> None:
    await world.request(await world.release(["email"]), [ANN, BOB])
    await world.send_all()
    await erase(world)
    reads = PostgresReads(world.database, KEYRING)
    keys = [(row[0], row[1]) for row in await world.fetch("select notification_id, address_id from message")]
    found = {row.recipient: row.erased for row in await reads.messages((TENANT, Mode.LIVE), keys)}
    assert found == {"": True, BOB: False}


async def test_an_erasure_waits_for_requests_that_are_being_stored(world: World) -> None:
    """They were begun before it: the wipe that follows must see them."""
    envelope = requested(await world.release(["email"]), [ANN], now())
    assert time_of(envelope.data.cause_id) <= now()
    async with world.database.transaction() as connection:
        await accept.without_erased_recipients(connection, [new_request(envelope, KEYRING)], KEYRING)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(erase(world), 0.3)


async def test_an_erasure_does_not_wait_for_a_dump_and_holds_up_nobody(world: World) -> None:
    """`pg_dump` reads every table in one transaction, for hours."""
    release = await world.release(["email"])
    async with world.database.transaction() as dump:
        await dump.execute("lock table erased in access share mode")
        await erase(world)
        await world.request(release, [BOB])
        await world.send_all()
    assert await world.statuses() == {(SENT, 0): 1}
