"""`on_unknown: verify`: after an attempt with an unknown outcome, the provider is queried, and its answer decides."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from libs.contracts.outcomes import Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.outcomes import Ambiguous, Deferred, Sent
from services.delivery.domain.verifying import Learned
from services.delivery.domain.work import QUESTIONS
from services.delivery.loops.verifier import Verifier
from services.simulator.domain.faults import Fault, Script
from tests.flows.delivery_world import KEYRING, ScriptedProvider, opened
from tests.flows.sms_world import NOT_TAKEN, TAKEN, SmsWorld, die_while_calling, receipt_of, sms_world

PENDING, SENT, FAILED, SKIPPED, UNKNOWN = 0, 2, 3, 4, 6
MINUTE = timedelta(seconds=75)


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[SmsWorld]:
    ledger = await opened(database)
    async with sms_world(ledger, tmp_path) as running:
        yield running
    await ledger.close()


async def test_what_the_provider_had_taken_is_sent_once(world: SmsWorld) -> None:
    """It was accepted and never answered: the list contains it, with its reference."""
    envelope = await world.texted(TAKEN.format(n=1))
    request = envelope.data.request_id
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    assert not await world.settled(request), "it is not settled while the provider is asked"
    assert await world.asked()
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert await world.settled(request)
    [told] = [t for event in await world.events("message.recorded") for t in event["transitions"] if t["is"] == "sent"]
    assert told["provider_ref"].startswith("SM")
    await world.send_all()
    assert (world.accepted(), await world.asked()) == (1, False)
    assert await world.transitions() == [("sending", "unknown", "timed_out"), ("unknown", "sent", "verified_sent")]


async def test_what_the_provider_does_not_have_is_sent_again_once_that_is_certain(world: SmsWorld) -> None:
    envelope = await world.texted(NOT_TAKEN.format(n=2))
    assert world.accepted() == 0
    assert await world.asked(), "its list may be behind"
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    assert await world.asked(MINUTE)
    assert await world.statuses() == {(PENDING, Reason.VERIFIED_NOT_SENT): 1}
    await world.send_all()
    assert await world.statuses() == {(SENT, Reason.NONE): 1}
    assert await world.settled(envelope.data.request_id)
    assert world.simulator.exchange.tallies["sms"].figures()["repeated"] == 0
    kept = await world.fetch("select attempt, status, reason from attempt")
    assert [tuple(row) for row in kept] == [(1, PENDING, Reason.VERIFIED_NOT_SENT)]


async def test_a_cut_connection_is_asked_about_too(world: SmsWorld) -> None:
    await world.texted(f"+49151{30}9990498", f"+49151{31}9991499")
    assert await world.statuses() == {(UNKNOWN, Reason.CONNECTION_LOST): 2}
    await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1, (PENDING, Reason.VERIFIED_NOT_SENT): 1}
    await world.send_all()
    assert world.accepted() == 2


async def test_it_is_not_sent_again_for_ever(world: SmsWorld) -> None:
    never = NOT_TAKEN.format(n=4).replace("9991409", "9990409")
    envelope = await world.texted(never)
    for _ in range(6):
        assert await world.asked(MINUTE)
        await world.send_all()
    assert await world.statuses() == {(FAILED, Reason.RETRIES_EXHAUSTED): 1}
    assert world.simulator.exchange.tallies["sms"].calls == 6
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "failed": 1}


async def test_what_expires_while_it_is_asked_about_ends_as_what_it_is(world: SmsWorld) -> None:
    """Not there: it was not sent, and is too late. There: it was sent, however late that is learned."""
    soon = world.time() + timedelta(seconds=30)
    await world.texted(TAKEN.format(n=5), NOT_TAKEN.format(n=6), expires_at=soon)
    await world.asked(MINUTE)
    await world.send_all()
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1, (SKIPPED, Reason.EXPIRED): 1}
    assert world.accepted() == 1


async def test_a_code_is_not_wiped_while_it_is_asked_about(world: SmsWorld) -> None:
    """It expired meanwhile; whether it was sent is still learned, and then its body goes."""
    await world.texted(TAKEN.format(n=18), secret=True, expires_at=world.time() + timedelta(seconds=30))
    world.time.advance(MINUTE)
    await PostgresPartitions(world.database, world.time, retention_days=90, body_days=30).retire()
    assert await world.asked()
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}
    assert await world.value("select count(*) from request where body is not null") == 0


async def test_a_receipt_that_comes_first_settles_it_and_nothing_is_asked(world: SmsWorld) -> None:
    envelope = await world.texted(NOT_TAKEN.format(n=7))
    await world.ledger.receive([receipt_of(await world.message(), ReceiptKind.DELIVERED)])
    calls = world.simulator.exchange.tallies["sms"].calls
    assert await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.NONE): 1}
    assert (await world.asked(), world.simulator.exchange.tallies["sms"].calls) == (False, calls)
    assert await world.settled(envelope.data.request_id)


async def test_a_receipt_that_comes_while_it_is_asked_stands(world: SmsWorld) -> None:
    envelope = await world.texted(NOT_TAKEN.format(n=19))
    world.time.advance(MINUTE)
    rows = await world.ledger.lease_doubts((10, 10), 30.0)
    [doubt] = await world.ledger.doubts(rows)
    await world.ledger.receive([receipt_of(await world.message(), ReceiptKind.DELIVERED)])
    assert await world.ledger.learn(rows, [Learned(doubt, Status.PENDING, Reason.VERIFIED_NOT_SENT)]) == []
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
    assert world.accepted() == 0


async def test_what_a_dead_worker_was_calling_is_asked_about(world: SmsWorld) -> None:
    """Killed between claim and record, with one text at Twilio and one that never left."""
    numbers = [TAKEN.format(n=8), "+4915110000009"]
    await world.texted(*numbers, send=False)
    await die_while_calling(world, numbers[0])
    await world.execute("update work set leased_until = now() - interval '1 s' where calling")
    assert (await world.ledger.recover(10)).unknown == 2
    await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1, (PENDING, Reason.VERIFIED_NOT_SENT): 1}
    await world.send_all()
    assert (world.accepted(), world.simulator.exchange.tallies["sms"].figures()["repeated"]) == (2, 0)


async def test_a_worker_that_dies_while_it_asks_has_changed_nothing(world: SmsWorld) -> None:
    await world.texted(TAKEN.format(n=10))
    world.time.advance(MINUTE)
    [row] = await world.ledger.lease_doubts((10, 10), 0.0)
    await world.ledger.recover(10)
    learned = [Learned(doubt, Status.FAILED, Reason.INTERNAL) for doubt in await world.ledger.doubts([row])]
    assert await world.ledger.learn([row], learned) == []
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}, "its lease is gone, and what it learned with it"
    assert await world.asked()
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}


async def test_a_provider_that_cannot_say_is_asked_again_until_the_time_to_ask_is_over(world: SmsWorld) -> None:
    """500 to every query: it stays unknown, and says that it was queried."""
    world.simulator.exchange.faults.add(Script("sms-list", Fault.INTERNAL))
    envelope = await world.texted(TAKEN.format(n=11))
    for _ in range(3):
        assert await world.asked(timedelta(minutes=10))
        assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
        assert not await world.settled(envelope.data.request_id)
    assert await world.asked(timedelta(hours=2))
    assert await world.statuses() == {(UNKNOWN, Reason.NOT_VERIFIED): 1}
    [detail] = [row[0] for row in await world.fetch("select detail from message")]
    assert "500" in detail or "internal" in detail
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "unknown": 1}
    assert await world.settled(envelope.data.request_id)
    assert (await world.transitions())[-1] == ("unknown", "unknown", "not_verified")
    assert detail in (await world.explained(envelope)).detail
    assert not await world.asked()


async def test_after_a_500_the_next_answer_counts(world: SmsWorld) -> None:
    world.simulator.exchange.faults.add(Script("sms-list", Fault.UNAVAILABLE, remaining=1))
    await world.texted(TAKEN.format(n=12))
    assert await world.asked()
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    assert await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}


async def test_two_equal_texts_to_one_number_are_not_told_apart(world: SmsWorld) -> None:
    """One of them is there, and nobody can say which: neither is marked sent, neither is sent again."""
    both = f"+49151{13:03}9991408"  # the first call is accepted and never answered
    await world.texted(both)
    world.simulator.exchange.faults.add(Script("sms", Fault.TIMEOUT_REFUSED, remaining=1))
    await world.texted(both)
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 2}
    await world.execute("update work set due_at = due_at + interval '1 hour' where id = (select min(id) from work)")
    assert await world.asked(MINUTE), "the second alone: the first is in doubt all the same"
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 2}
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 2}
    await world.asked(timedelta(hours=3))
    assert await world.statuses() == {(UNKNOWN, Reason.NOT_VERIFIED): 2}
    assert world.accepted() == 1


async def test_what_a_receipt_has_told_to_be_another_message_is_no_doubt(world: SmsWorld) -> None:
    """The same text went to the same number in the same minute, and Twilio has reported on it: ours is missing."""
    number = "+4915110000014"
    await world.texted(number)
    world.simulator.exchange.faults.add(Script("sms", Fault.TIMEOUT_REFUSED, remaining=1))
    await world.texted(number)
    [sent] = await world.fetch(
        "select notification_id, address_id, attempt, provider_ref from message where status = 2"
    )
    news = receipt_of(sent, ReceiptKind.DELIVERED)
    await world.ledger.receive([replace(news, provider="twilio", event_id=f"{sent['provider_ref']}:delivered")])
    await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.NONE): 1, (PENDING, Reason.VERIFIED_NOT_SENT): 1}


async def test_a_sender_that_was_changed_since_proves_nothing_by_an_empty_list(world: SmsWorld) -> None:
    """It may use another account by now, in which earlier messages are missing."""
    await world.texted(TAKEN.format(n=18), NOT_TAKEN.format(n=19))
    world.senders.changed_at = world.time()
    await world.asked(MINUTE)
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1, (UNKNOWN, Reason.TIMED_OUT): 1}


@pytest.mark.parametrize(
    ("gone", "words"),
    [("erased", "erased"), ("moved", "a different address"), ("sender", "not configured"), ("tokens", "looked up")],
)
async def test_where_it_cannot_be_asked_it_stays_unknown_with_the_reason(
    world: SmsWorld, gone: str, words: str
) -> None:
    number = TAKEN.format(n=15)
    await world.texted(number)
    key = f"customer:{number}"
    match gone:
        case "erased":
            await world.ledger.erase([(1, Mode.LIVE, key, world.clock())])
        case "moved":
            world.tokens.recipients[key]["addresses"] = [world.tokens.address(key, "sms")]
        case "sender":
            world.senders.there = False
        case "tokens":
            world.tokens.away = lambda: True
    await world.asked(MINUTE)
    assert {status for status, _ in await world.statuses()} == {UNKNOWN}
    await world.asked(timedelta(hours=3))
    assert await world.statuses() == {(UNKNOWN, Reason.NOT_VERIFIED): 1}
    assert words in (await world.fetch("select detail from message"))[0][0]
    assert world.accepted() == 1


async def test_a_paused_sender_and_one_at_its_limit_are_not_asked(world: SmsWorld) -> None:
    await world.texted(TAKEN.format(n=16))
    line = world.line()
    breaker = line.breakers.of(1, 1, 3)
    for _ in range(10_000):
        breaker.note(Ambiguous(Reason.TIMED_OUT, ""), time.monotonic())
    world.time.advance(MINUTE)
    assert await Verifier(line).run_once()
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    await world.execute("insert into throttle values (1, 1, 3, 0.001, 10, 0, now())")
    assert await world.asked(timedelta(minutes=5))
    assert await world.statuses() == {(UNKNOWN, Reason.TIMED_OUT): 1}
    await world.execute("delete from throttle")
    assert await world.asked(timedelta(minutes=30))
    assert await world.statuses() == {(SENT, Reason.VERIFIED_SENT): 1}


async def test_where_no_provider_can_be_asked_verify_leaves_it(world: SmsWorld) -> None:
    pushed = ScriptedProvider(answer=lambda _: Ambiguous(Reason.TIMED_OUT, "no answer"))
    world.provider = pushed
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    envelope = await world.request(release, ["customer:1"], on_unknown="verify")
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "unknown": 1}
    assert await world.settled(envelope.data.request_id)
    assert (await world.asked(MINUTE), len(pushed.calls)) == (False, 1)


async def test_a_retry_of_one_device_does_not_repeat_another_that_is_to_be_left(world: SmsWorld) -> None:
    """One device answers 429 and is retried, the other never answered: its communication says `leave`."""
    world.tokens.add("customer:1", "push", "push")
    slow, silent = (address["value"] for address in world.tokens.recipients["customer:1"]["addresses"])
    answers = {slow: Deferred(Reason.THROTTLED, "429", 0.0), silent: Ambiguous(Reason.TIMED_OUT, "no answer")}
    pushed = ScriptedProvider(answer=lambda m: answers[m.address] if m.attempt == 1 else Sent())
    world.provider = pushed
    await world.request(await world.release(["push"]), ["customer:1"], on_unknown="leave")
    await world.send_all()
    world.time.advance(MINUTE)
    await world.send_all()
    assert await world.statuses() == {(SENT, Reason.NONE): 1, (UNKNOWN, Reason.TIMED_OUT): 1}
    assert len(pushed.calls) == 3


async def test_support_is_told_that_it_is_being_asked_about(world: SmsWorld) -> None:
    envelope = await world.texted(TAKEN.format(n=17))
    explained = await world.explained(envelope)
    assert (explained.state, explained.reason) == ("waiting", Reason.VERIFYING)
    assert explained.until is not None
    assert (await PostgresReads(world.database, KEYRING).backlog())[QUESTIONS][1] == 1
