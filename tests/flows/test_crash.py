"""The promise of the ledger, on a bad day: nothing lost, no attempt called twice, the sums right at any moment.

More seeds: DEPESCHE_CRASH_SEEDS=20 pytest tests/flows/test_crash.py
"""

import asyncio
import base64
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import TRANSITIONS, Mode, ReceiptKind, Status, counted
from libs.keyring import Keyring
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.intake import new_request
from services.delivery.domain.releases import Release
from services.delivery.domain.steering import Hold, HoldKind, Suppression
from tests.flows.crash_chaos import Truth
from tests.flows.crash_model import ALLOWED, LOST, NOT_SENT, PACE, STUCK, WRONG_ACCOUNTS, Workers, news_of
from tests.flows.crash_verifying import check_verified, verified_of
from tests.flows.delivery_world import KEYRING, TENANT, World, now, opened, requested

POLICIES = ("resend", "leave", "verify")
ENOUGH = 6  # crashes and outages, without which a day proves nothing
SEEDS = range(int(os.environ.get("DEPESCHE_CRASH_SEEDS", "3")))


class BadDay:
    """One seed of the model."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.truth = Truth()
        self.workers = Workers(world, self.rng, self.truth)
        self.operations = PostgresOperations(world.database, Keyring(b"k" * 32))
        self.requests: list[Envelope] = []
        self.orders: list[Envelope] = []  # they arrive together, and share queue rows
        self.barred: set[str] = set()
        self.late: list[Release] = []

    async def arrange(self) -> None:
        """Recipients with one to three addresses, releases with plans, one of which is not available yet."""
        tokens, rng = self.world.tokens, self.rng
        for n in range(60):
            channels = rng.choice((["push"], ["push", "email"], ["push", "push", "email", "sms"], ["sms", "sms"], []))
            tokens.add(f"customer:{n}", *channels, first_name="Bobby" if n == 7 else "Ada")
        tokens.away = lambda: rng.random() < 0.1
        releases = [
            await self.world.release(["push"]),
            await self.world.release(["push"], ["email"], communication="two-steps"),
            await self.world.release(["push"], ["email"], ["sms"], communication="three-steps"),
            await self.world.release(["push", "email"], communication="everywhere"),
            await self.world.release(["sms"], ["email"], communication="text"),
            await self.world.release(["sms"], communication="text-alone"),
        ]
        self.late = [await self.world.release(["push"], communication="late")]
        del self.world.releases.releases[self.late[0].id]
        for n in range(30):
            release = rng.choice([*releases, *self.late])
            # single orders share a transaction with their neighbours, where locks meet
            keys = [f"customer:{k}" for k in rng.sample(range(62), rng.choice((1, 3, 6, 6, 9, 25)))]
            changes = {"lane": rng.choice(("bulk", "transactional")), "on_unknown": rng.choice(POLICIES)}
            envelope = requested(release, keys, now(), **changes)
            self.requests.append(envelope)
            if n % 5 == 0:  # another request asks for the same notifications
                twin = requested(release, keys[: max(1, len(keys) // 2)], now(), cause=envelope.data.cause_id, part=1)
                self.requests.append(twin)
        for _ in range(36):
            changes = {"lane": rng.choice(("bulk", "transactional")), "on_unknown": rng.choice(POLICIES)}
            key = f"customer:{rng.randrange(62)}"
            self.orders.append(requested(rng.choice([*releases, *self.late]), [key], now(), **changes))
        await self._bar(rng.sample(sorted(tokens.recipients), 8))

    async def _bar(self, keys: list[str]) -> None:
        """Suppressions whose versions come shuffled and twice; half of them end up lifted."""
        changes = []
        for place, key in enumerate(keys):
            for address in self.world.tokens.recipients[key]["addresses"]:
                raw = base64.b64decode(address["hash"])
                last = place % 2 == 0
                if last:
                    self.barred.add(address["value"])
                changes += [Suppression(TENANT, 1, raw, 0, 30, v, last if v == 3 else v == 1) for v in (1, 2, 3)]
        self.rng.shuffle(changes)
        for change in changes + changes[:3]:
            await self.world.ledger.suppress([change])

    @property
    def envelopes(self) -> list[Envelope]:
        return [*self.requests, *self.orders]

    async def deliver_requests(self) -> None:
        """Deliver each request two to six times, concurrently and in batches."""
        for envelope in self.requests:
            await asyncio.sleep(self.rng.uniform(0, 0.015))
            twice = [self.world.ledger.accept([new_request(envelope, KEYRING)]) for _ in range(self.rng.randint(2, 6))]
            await asyncio.gather(*twice)

    async def deliver_orders(self) -> None:
        """Deliver overlapping batches: each order comes twice, with different neighbours."""
        for start in range(0, len(self.orders), 6):
            await asyncio.sleep(self.rng.uniform(0, 0.06))
            batch = [new_request(envelope, KEYRING) for envelope in self.orders[start : start + 12]]
            halves = (batch, self.rng.sample(batch, len(batch) // 2))
            await asyncio.gather(*(self.world.ledger.accept(half) for half in halves))

    async def place_holds(self) -> None:
        """Holds of every kind, placed and lifted while everything runs."""
        kinds = [HoldKind.CAUSE, HoldKind.RELEASE, HoldKind.SENDER, HoldKind.TENANT]
        for kind in kinds:
            command = self.rng.choice(self.envelopes).data
            targets = {"cause": str(command.cause_id), "release": str(command.release_id), "sender": "1"}
            hold = Hold(TENANT, Mode.LIVE, kind, targets.get(kind.value, "1"), 0, True, None, "test", now())
            await self.operations.place(hold, [])
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))
            await self.operations.lift(hold, [])

    async def storm(self) -> None:
        """A provider gives up much of what it had accepted, revokes that, and gives it up again, while a hold keeps
        the next steps from beginning: an open plan step is not opened again."""
        hold = Hold(TENANT, Mode.LIVE, HoldKind.TENANT, "1", 0, True, None, "test", now())
        await self.operations.place(hold, [])
        taken_back = self.workers.take_back(share=0.5)
        for number, kind in enumerate((ReceiptKind.FAILED, ReceiptKind.DELIVERED, ReceiptKind.FAILED)):
            await self._at_once([news_of(message, kind, 9 + number) for message in taken_back])
        await self.operations.lift(hold, [])

    async def _at_once(self, news: list[ReceiptNews]) -> None:
        """Apply batches side by side while every account is locked: they all wait, and all continue at the same
        moment."""
        async with self.world.database.transaction() as connection:
            await connection.execute("select from request where settled_at is null order by id for update")
            batches = [asyncio.create_task(self.world.ledger.receive(news[n::6])) for n in range(6)]
            await asyncio.sleep(0.1)
        await asyncio.gather(*batches)

    async def watch(self) -> None:
        """Check the sums, at any moment."""
        while True:
            await self.check_now()
            await asyncio.sleep(0.15)

    async def check_now(self) -> None:
        for query in (WRONG_ACCOUNTS, LOST, STUCK):
            rows = await self.world.fetch(query)
            assert not rows, f"{query.split()[1]}: {[dict(row) for row in rows[:3]]}"

    async def run(self) -> None:
        """Chaos for a while, then calm until nothing is due."""
        await self.arrange()
        watcher = asyncio.create_task(self.watch())
        workers = [asyncio.create_task(self.workers.keep_running()) for _ in range(4)]
        try:
            await self._run(watcher, workers)
        finally:
            self.workers.stop.set()
            for task in (watcher, *workers):
                task.cancel()
            await asyncio.gather(watcher, *workers, return_exceptions=True)
        await self.check_now()

    async def _run(self, watcher: asyncio.Task[None], workers: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(self.deliver_requests(), self.deliver_orders(), self.place_holds())
        for release in self.late:
            self.world.releases.releases[release.id] = release
        await asyncio.sleep(0.5)
        await self.storm()
        await asyncio.sleep(0.5)
        await self.storm()
        while min(self.truth.crashes, self.truth.outages) < ENOUGH:  # noqa: ASYNC110 - counters, without an event
            await asyncio.sleep(0.05)
        self.workers.calm()
        while await self.world.value("select count(*) from work") or self.workers.receipts:
            assert not watcher.done(), watcher.exception()
            await asyncio.sleep(0.05)
        self.workers.stop.set()
        await asyncio.gather(*workers)

    async def transitions(self) -> list[tuple[UUID, dict[str, Any]]]:
        events = await self.world.events("message.recorded")
        return [(UUID(event["request_id"]), t) for event in events for t in event["transitions"]]


@pytest.fixture
async def ledger_of(database: str) -> AsyncIterator[asyncpg.Pool]:
    opened_ = await opened(database)
    yield opened_
    await opened_.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_or_called_twice_whatever_dies(ledger_of: Any, seed: int, record_property: Any) -> None:
    day = BadDay(World(ledger_of, now, PACE), seed)
    with capture_logs() as logs:
        await day.run()
    world, truth = day.world, day.truth
    record_property("figures", truth.figures())
    collided = [entry for entry in logs if entry["event"] == "deadlock"]
    assert collided == [], "rows were locked in different orders"
    failed = [entry for entry in logs if entry["event"] == "group_failed"]
    assert failed == [], "a transaction was refused: the ledger contradicted itself"
    assert [key for key, count in truth.calls.items() if count > 1] == [], "an attempt was called twice"
    assert not truth.addresses & day.barred, "a suppressed address was called"
    assert await world.value("select coalesce(sum(pending), 0) from request") == 0
    await _check_every_recipient(day)
    await _check_truth(day)
    await _check_attempts(day)
    record_property("verified", await check_verified(world, await day.transitions(), truth.outcomes))
    await _check_events(day)


async def _check_every_recipient(day: BadDay) -> None:
    """Check recipients + extra = rows + duplicates for each request; each recipient has a row or a duplicate."""
    duplicates: Counter[UUID] = Counter()
    for request_id, transition in await day.transitions():
        if transition["reason"] == "duplicate":
            duplicates[request_id] += 1
            assert transition["detail"] != str(request_id), "a plan step was opened twice: it met its own row"
    rows = await day.world.fetch(
        "select r.id, r.recipients, r.extra, (select count(*) from message m where m.request_id = r.id) as rows"
        " from request r"
    )
    assert len(rows) == len(day.envelopes)
    for id_, recipients, extra, count in rows:
        assert recipients + extra == count + duplicates[id_], f"request {id_}"
    there = {row[0] for row in await day.world.fetch("select distinct notification_id from message")}
    wanted = {r.notification_id for envelope in day.envelopes for r in envelope.data.recipients}
    assert wanted == there, "a notification left no trace"


async def _check_truth(day: BadDay) -> None:
    """Check that accepted messages are sent or unknown in the ledger; each repeat follows a counted unknown."""
    unknowns: Counter[str] = Counter()
    gave_up = {tag for tag, _ in day.truth.gave_up}
    for _, transition in await day.transitions():
        tag = f"{transition['notification_id']}.{transition['address_id']}"
        unknowns[tag] += transition["is"] == "unknown" and transition["was"] != "unknown"
    for tag, count in day.truth.accepted.items():
        assert count - 1 <= unknowns[tag], f"{tag} was accepted {count} times, unknown {unknowns[tag]} times"
    rows = await day.world.fetch("select notification_id, address_id, status from message")
    statuses = {f"{row[0]}.{row[1]}": Status(row[2]) for row in rows}
    for tag, status in statuses.items():
        if status is Status.SENT:
            assert day.truth.accepted[tag] >= 1, f"{tag} is sent, but nobody took it"
        if day.truth.accepted[tag] and not unknowns[tag] and tag not in gave_up:
            assert status is Status.SENT, f"{tag} was taken, and is {status.word}"


async def _check_attempts(day: BadDay) -> None:
    """Check that each attempt's status is what happened at that very attempt, or unknown; an accepted message is not
    called again without having been unknown."""
    rows = await day.world.fetch(
        "select notification_id, address_id, attempt, status from message union all"
        " select notification_id, address_id, attempt, status from attempt"
    )
    said = {(f"{row[0]}.{row[1]}", row[2]): Status(row[3]) for row in rows}
    verified = {key for key, reason in verified_of(await day.transitions()) if reason != "verified_sent"}
    for key, truth in day.truth.outcomes.items():
        allowed = ALLOWED[truth] | ({Status.FAILED} if key in day.truth.gave_up else set())
        allowed |= NOT_SENT if key in verified else set()
        assert said.get(key) in allowed, f"attempt {key} was {truth}, the ledger says {said.get(key)}"
    for key in day.truth.delivered:
        assert said[key] is Status.SENT, f"attempt {key} was delivered, the ledger says {said[key].word}"
    unknown = {
        (f"{t['notification_id']}.{t['address_id']}", t["attempt"])
        for _, t in await day.transitions()
        if t["is"] == "unknown"
    }
    for tag, attempt in day.truth.outcomes:
        before = (tag, attempt - 1)
        if day.truth.outcomes.get(before) in ("accepted", "rejected"):
            assert before in unknown, f"{tag} was {day.truth.outcomes[before]} at {attempt - 1}, and called again"


async def _check_events(day: BadDay) -> None:
    """Check that allowed transitions alone rebuild every account, in any order; each request settled exactly once."""
    settled = Counter(event["request_id"] for event in await day.world.events("request.settled"))
    assert settled == {str(envelope.data.request_id): 1 for envelope in day.envelopes}
    sums: dict[UUID, Counter[str]] = defaultdict(Counter)
    for request_id, transition in await day.transitions():
        was, after = Status.parse(transition["was"]), Status.parse(transition["is"])
        assert after in TRANSITIONS[was], transition
        sums[request_id].subtract([counted(was).word])
        sums[request_id].update([counted(after).word])
    columns = ("pending", "sent", "failed", "skipped", "suppressed", "unknown")
    query = f"select id, recipients + extra, {', '.join(columns)} from request"
    for id_, total, *counters in await day.world.fetch(query):
        rebuilt = sums[id_] + Counter()  # drops what is zero or below
        expected = {name: value for name, value in zip(columns, counters, strict=True) if value}
        assert {**rebuilt, **({"pending": pending} if (pending := total + sums[id_]["pending"]) else {})} == expected
