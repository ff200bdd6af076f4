"""The ledger's tables: receipts in any order, plans that stay fast, days that come and go."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.outcomes import Mode, ReceiptKind
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from services.delivery.adapters.postgres import (
    accept,
    claim,
    doubts,
    first,
    lease,
    partitions,
    receipts,
    record,
    recover,
    settle,
    wake,
)
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.intake import new_request
from services.delivery.domain.outcomes import Ambiguous, Sent
from tests.flows.delivery_world import KEYRING, World, now, requested

SENT, FAILED, UNKNOWN = 2, 3, 6


async def one(world: World, on_unknown: str = "leave", **fields: Any) -> Any:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    return await world.request(release, ["customer:1"], on_unknown=on_unknown, **fields)


async def receipt(world: World, kind: ReceiptKind, attempt: int = 1, event: str = "e1") -> int:
    row = (await world.fetch("select notification_id, address_id from message"))[0]
    reason = Reason.PROVIDER_GAVE_UP if kind is ReceiptKind.FAILED else Reason.NONE
    news = ReceiptNews("model", event, row[0], row[1], attempt, kind, now(), reason)
    return (await world.ledger.receive([news])).new


async def test_a_receipt_settles_what_nobody_knew_and_the_account_is_adjusted(world: World) -> None:
    world.provider.answer = lambda _: Ambiguous(Reason.TIMED_OUT, "no answer")
    envelope = await one(world)
    await world.send_all()
    assert len(await world.events("request.settled")) == 1
    assert await receipt(world, ReceiptKind.DELIVERED) == 1
    assert await receipt(world, ReceiptKind.DELIVERED) == 0  # the provider sent it twice
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
    [adjusted] = await world.events("request.adjusted")
    assert adjusted["account"]["sent"] == 1
    [told] = await world.events("receipt.recorded")
    assert told["receipts"][0]["recipient"] == "customer:1"


async def test_an_account_moves_on_the_page_that_it_was_stored_on(world: World) -> None:
    """So that its moves add no entries to the table's indexes."""
    release = await world.release(["push"])
    for n in range(200):
        world.tokens.add(f"customer:{n}", "push")
    await world.ledger.accept([new_request(requested(release, [f"customer:{n}"], now()), KEYRING) for n in range(200)])
    page = "select id, (ctid::text::point)[0] from request order by id"
    stored = await world.fetch(page)
    await world.send_all()
    assert await world.value("select count(*) from request where sent = 1") == 200
    assert await world.fetch(page) == stored


async def test_a_provider_that_gives_up_afterwards_undoes_sent(world: World) -> None:
    envelope = await one(world)
    await world.send_all()
    await receipt(world, ReceiptKind.FAILED)
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "failed": 1}
    await receipt(world, ReceiptKind.ACCEPTED, event="e3")  # late, without news
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "failed": 1}
    await receipt(world, ReceiptKind.OPENED, event="e2")  # then the customer opened it: it had arrived after all
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}


async def sent_again(world: World) -> None:
    """A message whose first attempt was not answered, and whose second was accepted."""
    world.provider.answer = lambda m: Ambiguous(Reason.TIMED_OUT, "no answer") if m.attempt == 1 else Sent()
    await one(world, "resend")
    await world.send_all()
    await world.execute("update work set due_at = now() - interval '1 s'")
    await world.send_all()


async def test_a_receipt_for_an_overtaken_attempt_counts_a_duplicate(world: World) -> None:
    await sent_again(world)
    await receipt(world, ReceiptKind.DELIVERED, attempt=1)
    keys = await world.fetch("select notification_id, address_id from message")
    (shown,) = await PostgresReads(world.database, KEYRING).messages((0, Mode.LIVE), keys)
    assert shown.duplicates == 1
    assert await world.value("select status from attempt") == SENT


async def test_an_overtaken_attempt_that_failed_was_no_duplicate(world: World) -> None:
    await sent_again(world)
    await receipt(world, ReceiptKind.FAILED, attempt=1)
    assert await world.value("select duplicates from message") == 0
    assert await world.value("select status from attempt") == FAILED
    assert [status for status, _ in await world.statuses()] == [SENT]


async def test_what_an_earlier_attempt_reached_says_nothing_of_the_last_one(world: World) -> None:
    """The first attempt arrived after all, the resend bounced: the message stands where its last attempt does."""
    await sent_again(world)
    await receipt(world, ReceiptKind.DELIVERED, attempt=1, event="e1")
    await receipt(world, ReceiptKind.FAILED, attempt=2, event="e2")
    assert [status for status, _ in await world.statuses()] == [FAILED]
    assert await world.value("select status from attempt") == SENT


async def test_a_receipt_of_a_stranger_changes_nothing(world: World) -> None:
    await one(world)
    await world.send_all()
    stranger = ReceiptNews("model", "e9", uuid7(), 7, 1, ReceiptKind.FAILED, now())
    assert await world.ledger.receive([stranger]) == (0, 0)
    assert await world.statuses() == {(SENT, 0): 1}


# ---- plans

HOT = {
    "insert": (first._INSERT[False], ["message"]),
    "insert, looking": (first._INSERT[True], ["message"]),
    "wake": (wake._WAKE, ["message"]),
    "record": (record._RECORD, ["message"]),
    "overtaken": (record._OVERTAKEN, ["message", "attempt"]),
    "receipt": (receipts._APPLY, ["message"]),
    "lost": (recover._LOST, ["message"]),
    "recover": (recover._EXPIRED, ["work"]),
    "ask again": (recover._ASK_AGAIN, ["work"]),
    "doubts": (doubts._DOUBTS, ["message"]),
    "beside": (doubts._BESIDE, ["message", "doubt"]),
    "learn": (doubts._LEARN, ["message"]),
    "unknown ends": (partitions._UNKNOWN_ENDS, ["message", "doubt"]),
    "end": (wake._END, ["message"]),
    "ended": (settle._ENDED, ["message", "work"]),
    "store": (accept._STORE[False], ["request", "work"]),
    "store, looking": (accept._STORE[True], ["request", "work"]),
    "fence": (claim._FENCE, ["work"]),
    "cancelled": (claim._CANCELLED, ["request"]),
    "due": (lease._ANYTHING_DUE, ["work"]),
    "lease": (lease._LEASE, ["work"]),
    "account": (settle._MOVE, ["request", "work"]),
}


def nodes(plan: Any) -> Any:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("filled", [False, True])
async def test_hot_statements_never_scan_a_whole_table(world: World, filled: bool) -> None:
    """On the empty tables that a plan is first made for, and on small ones that were analysed."""
    if filled:
        release = await world.release(["push"])
        keys = [f"customer:{n}" for n in range(250)]
        for key in keys:
            world.tokens.add(key, "push")
        for key in keys[:60]:
            await world.request(release, [key])
        await world.request(release, keys)
        await world.send_all()
        await world.execute("analyze message; analyze request; analyze work; analyze attempt; analyze release")
    async with world.database.acquire() as connection:
        await connection.execute("set plan_cache_mode = force_generic_plan")
        # for an empty analysed table the planner chooses a full scan; the ledger plans again every few seconds
        rows = await connection.fetch("select relname from pg_class where reltuples = 0 and relkind = 'r'")
        empty = {row[0] for row in rows} | {"release"}  # these are never many
        slow = []
        for name, (statement, tables) in HOT.items():
            prepared = await connection.prepare(statement)
            arguments = ", ".join(["null"] * len(prepared.get_parameters()))
            await connection.execute(f"prepare hot as {statement}")
            plan = await connection.fetchval(f"explain (format json) execute hot({arguments})")
            await connection.execute("deallocate hot")
            slow += [f"{name}: {why}" for node in nodes(plan[0]["Plan"]) if (why := _slow(node, tables, empty))]
    assert slow == []


def _slow(node: Any, tables: list[str], empty: set[str]) -> str | None:
    """Return what the step of a plan does that takes longer with each row, or None."""
    relation = node.get("Relation Name", "")
    if node["Node Type"] == "Seq Scan" and any(relation.startswith(table) for table in tables):
        return f"reads all of {relation}"
    if node["Node Type"] in ("Hash Join", "Merge Join", "Materialize"):
        return str(node["Node Type"])
    whole = "Index" in node["Node Type"] and "Index Cond" not in node and node.get("Index Name") != "work_due"
    return f"reads the whole index {node.get('Index Name')}" if whole and relation not in empty else None


# ---- locks


# ---- days


async def test_an_old_day_is_rolled_up_and_dropped_and_its_unknown_ended(world: World) -> None:
    world.provider.answer = lambda _: Ambiguous(Reason.TIMED_OUT, "no answer")
    await one(world)
    await world.send_all()
    later = datetime.now(UTC) + timedelta(days=100)
    days = PostgresPartitions(world.database, lambda: later, retention_days=90, body_days=30)
    await days.make_ahead(1)
    assert await days.retire() >= 1
    assert await world.value("select count(*) from message") == 0
    assert await world.value("select failed from daily") == 1
    [adjusted] = await world.events("request.adjusted")
    assert adjusted["account"]["failed"] == 1
    (*_, last) = await world.events("message.recorded")
    (told,) = last["transitions"]
    assert (told["was"], told["is"], told["reason"]) == ("unknown", "failed", "unknown_final")
    assert (told["channel"], told["attempt"]) == ("push", 1)


async def test_of_a_day_with_open_messages_no_unknown_ends(world: World) -> None:
    world.provider.answer = lambda _: Ambiguous(Reason.TIMED_OUT, "no answer")
    await one(world)
    await world.send_all()
    await one(world)
    later = datetime.now(UTC) + timedelta(days=100)
    await PostgresPartitions(world.database, lambda: later, retention_days=90, body_days=30).retire()
    assert await world.statuses() == {(6, int(Reason.TIMED_OUT)): 1}


async def test_a_day_with_open_messages_stays(world: World) -> None:
    await one(world)
    later = datetime.now(UTC) + timedelta(days=100)
    days = PostgresPartitions(world.database, lambda: later, retention_days=90, body_days=30)
    before = await world.value("select count(*) from pg_inherits where inhparent = 'message'::regclass")
    await days.retire()
    left = await world.value("select count(*) from pg_inherits where inhparent = 'message'::regclass")
    assert 1 <= left < before
    assert await days.always_empty() == {"open_requests_without_work": 0, "held_work_without_hold": 0}


async def test_a_cause_older_than_the_ledger_ends_as_expired_and_says_so(world: World) -> None:
    release = await world.release(["push"])
    old = UUID(int=int((datetime.now(UTC) - timedelta(days=200)).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    envelope = await world.request(release, ["customer:1"], cause=old)
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "skipped": 1}
    assert len(await world.events("request.settled")) == 1
    assert await world.value("select count(*) from work") == 0


async def test_a_late_cause_within_the_retention_gets_its_day_and_is_sent(world: World) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    late = UUID(int=int((datetime.now(UTC) - timedelta(days=40)).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    envelope = await world.request(release, ["customer:1"], cause=late)
    await world.send_all()
    assert await world.account(envelope.data.request_id) == {"recipients": 1, "sent": 1}
