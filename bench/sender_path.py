"""The sender path alone: requests stored in a real ledger, then leased, resolved, rendered, claimed, called, recorded.

Stubs answer for the services beside `delivery`, so that only delivery is measured: `tokens` knows every
`customer:<n>`, `orders-notification` has one release.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from uuid import UUID

import asyncpg
import psutil  # type: ignore[import-untyped]

from bench.postgres import Fresh, fresh_postgres
from bench.sinks import Measured, Sink, cpu_seconds
from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.ids import notification_id, request_id, uuid7
from libs.keyring import Keyring
from libs.service import Runtime, Service
from libs.service_client import Call
from libs.storage.migrations import migrate

CHUNK = 500
TENANT = 1
FIRST_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Finn", "Greta", "Hugo", "Ida", "Jonas")


@dataclass(frozen=True)
class Job:
    """The workload: one communication on one channel to `count` customers, in chunks of 500."""

    channel: str
    template: dict[str, str]
    count: int
    category: str = "transactional"


@asynccontextmanager
async def ledger() -> AsyncIterator[Fresh]:
    """Yield a fresh Postgres with delivery's schema."""
    with fresh_postgres() as fresh:
        await migrate(fresh.dsn, {"delivery": Path("services/delivery/migrations")})
        yield fresh


@dataclass(frozen=True)
class Shop:
    """Stands in for `tokens` and `orders-notification`."""

    job: Job
    release: UUID

    async def tokens(self, call: Call) -> tuple[int, bytes]:
        keys = json.loads(call.body)["keys"]
        return 200, ('{"recipients":{' + ",".join(self._recipient(key) for key in keys) + "}}").encode()

    async def orders(self, call: Call) -> tuple[int, bytes]:
        job = self.job
        plan = [{"mode": "all", "channels": [{"channel": job.channel, "template": "bench", "sender": 0}]}]
        bundle = {
            "id": str(self.release),
            "communication": "bench",
            "version": 1,
            "tenant": TENANT,
            "mode": "live",
            "digest": "0" * 64,
            "active": True,
            "category": job.category,
            "topic": None,
            "lane": "bulk",
            "on_unknown": "leave",
            "expiry_seconds": 86_400,
            "quiet_hours": "ignore",
            "default_locale": "en",
            "plan": plan,
            "templates": {
                "bench": {"channel": job.channel, "version": 1, "locales": {"en": job.template}, "fallbacks": {}}
            },
        }
        return 200, json.dumps(bundle).encode()

    def _recipient(self, key: str) -> str:
        """Encoded by hand, because its cost counts as the worker's."""
        n, channel = int(key.partition(":")[2]), self.job.channel
        mail = channel == "email"
        value = f"customer{n}@example.com" if mail else f"token-{n:060d}"
        return (
            f'"{key}":{{"id":{n},"first_name":"{FIRST_NAMES[n % len(FIRST_NAMES)]}","last_name":"Customer{n}",'
            f'"locale":"en","zone":"Europe/Berlin","attributes":{{}},"quiet_hours":null,'
            f'"consents":{{"{channel}":true}},"addresses":[{{"id":{n},"channel":"{channel}",'
            f'"kind":"{"email" if mail else "fcm_token"}","value":"{value}","locale":null,'
            # for the claim, any 32 bytes serve as well as the hash of an address
            f'"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA{n:07d}="}}]}}'
        )


def envelopes(job: Job, release: UUID, chunk: int = CHUNK) -> list[Envelope]:
    """Return the requests: `chunk` recipients each, all of one cause."""
    cause, now = uuid7(), datetime.now(UTC)
    made = []
    for part, start in enumerate(range(1, job.count + 1, chunk)):
        keys = [f"customer:{n}" for n in range(start, min(start + chunk, job.count + 1))]
        data = NotificationRequested(
            request_id=request_id(cause, release, part),
            cause_id=cause,
            cause_kind="event",
            release_id=release,
            communication="bench",
            lane="bulk",
            on_unknown="leave",
            expires_at=now + timedelta(days=1),
            event={
                "id": "1",
                "type": "price.dropped",
                "subject": "4711",
                "data": {"product": "Trail Shoe", "price": "79.90"},
            },
            recipients=tuple(
                RequestedRecipient(key=key, notification_id=notification_id(cause, "bench", key)) for key in keys
            ),
        )
        made.append(
            Envelope(
                id=uuid7(),
                type=data.TYPE,
                source=data.SOURCE,
                time=now,
                tenant=TENANT,
                mode=Mode.LIVE,
                key=str(cause),
                data=data,
            )
        )
    return made


async def measure_sender(name: str, job: Job, target: Sink, store: Fresh, limit_seconds: float) -> Measured:
    """Store all requests, then run delivery's loops until the account has nothing pending."""
    release = uuid7()
    keyring = Keyring(b"bench" * 8)
    shop = Shop(job, release)
    transports = {"tokens": shop.tokens, "orders-notification": shop.orders}
    with tempfile.TemporaryDirectory(prefix="depesche-bench-") as folder:
        runtime = Runtime(
            dsn=store.dsn,
            keyring=keyring,
            transports=transports.__getitem__,
            data_dir=Path(folder),
            simulator=target.endpoints,
        )
        from services.delivery.app import create_service

        service = create_service(runtime)
        async with service.running():
            await _store(service, envelopes(job, release))
            return await _drain(name, job, (service, target, store), limit_seconds)


async def _store(service: Service, batch: list[Envelope]) -> None:
    accept = next(one.handle for one in service.subscribers() if one.event_type == NotificationRequested.TYPE)
    for start in range(0, len(batch), 20):
        await accept(batch[start : start + 20])


async def _drain(name: str, job: Job, parts: tuple[Service, Sink, Fresh], limit_seconds: float) -> Measured:
    service, target, store = parts
    accepted = target.accepted(job.channel)
    connection = await asyncpg.connect(store.dsn)
    before = (cpu_seconds(os.getpid()), target.cpu(), store.cpu())
    started, stop = perf_counter(), asyncio.Event()
    loops = asyncio.create_task(service.run_loops(stop, []))
    sums: dict[str, int] = {}
    memory: list[tuple[int, float]] = []
    while perf_counter() - started < limit_seconds and not loops.done():
        await asyncio.sleep(0.1)
        row = await connection.fetchrow(
            "select sum(pending)::int as pending, sum(sent)::int as sent, sum(recipients + extra)::int as expected, "
            "sum(unknown)::int as unknown, sum(failed)::int as failed from delivery.request"
        )
        sums = dict(row)
        memory.append((sums["sent"], psutil.Process().memory_info().rss / 1e6))
        if sums["pending"] == 0:
            break
    seconds = perf_counter() - started
    after = (cpu_seconds(os.getpid()), target.cpu(), store.cpu())
    stop.set()
    await loops
    await connection.execute(
        "truncate delivery.request, delivery.work, delivery.message, delivery.attempt, delivery.outbox cascade"
    )
    await connection.close()
    sent = sums["sent"]
    if sent != sums["expected"]:
        print(f"{name}: not all sent: {sums}")
    worker, received, postgres = (b - a for a, b in zip(before, after, strict=True))
    per = 1e6 / max(sent, 1)
    measured = Measured(name, sent, seconds, sent / seconds, worker * per, received * per, postgres * per)
    early = max((rss for done, rss in memory if done * 4 <= sent), default=0.0)
    rss = (early, max(rss for _, rss in memory))
    return replace(measured, accepted=target.accepted(job.channel) - accepted, rss_mb=rss)
