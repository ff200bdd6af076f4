"""The bus from outbox to inbox on each of its carriers, compared with sidecars without our outbox and inbox.

    python -m bench.bus [--carriers embedded,redis,kafka] [--recipients 1,100,1000]

`notification.requested` is committed in orders-notification's outbox, with 1, 100 or 1,000 recipients per envelope;
the time runs from the relay's start until the last one is committed in delivery's ledger. CPU-seconds per million
recipients are given for relay and subscriber, Postgres, both sidecars and the broker separately. "bare" are the same
bulk publishes through the same kind of sidecars, between two applications that store nothing: the cost of Dapr alone.
Not measured: writing the outbox, preparing and sending, this process. Goals at 1,000 recipients: relay and subscriber
cost less than the sidecars, and no bus is slower than 50,000 recipients a second. Last line: JSON.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import msgspec

from bench.bus_places import End, Place, broker_of, ends_of, place, port, sidecar
from bench.sender_path import Job, envelopes
from bench.sinks import cpu_seconds
from cli.engines.engine import Engine
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from libs.ids import uuid7
from libs.messaging.batches import batched
from libs.messaging.dapr import MOST_ENTRIES, PUBLISH_BYTES, entries_of
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database

MESSAGES = {1: 10_000, 100: 2_000, 1_000: 400}
GOAL_RECIPIENTS = 50_000
_PARTS = ("ours", "postgres", "daprd", "broker")
_PATIENCE_SECONDS = 90.0


def _pid(engine: Engine) -> int:
    assert engine.process is not None
    assert engine.process.pid is not None
    return engine.process.pid


@dataclass
class Measured:
    """One carrier at one size; CPU-seconds per million recipients by process."""

    carrier: str
    bare: bool
    recipients: int
    messages: int
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def recipients_per_second(self) -> float:
        return self.messages * self.recipients / self.seconds

    def row(self) -> str:
        name = f"{self.carrier}, bare" if self.bare else self.carrier
        speed = f"{self.messages / self.seconds:>11,.0f}{self.recipients_per_second:>13,.0f}"
        parts = "".join(f"{self.cpu[part]:>10.1f}" if part in self.cpu else f"{'':>10}" for part in _PARTS)
        return f"{name:<18}{self.recipients:>10,}{speed}{parts}"


async def measure(carrier: str, recipients: int, where: Place, broker: Redis | Kafka | None) -> list[Measured]:
    """Measure ours, and on Dapr the bare way for comparison."""
    messages = MESSAGES[recipients]
    await lay_in(where, recipients, messages)
    if broker is None:
        with End("both", ends_of(where)) as end:
            run = _Run(where, [end])
            made = await run.until(end, messages, where.stored)
        await where.empty()
        return [Measured(carrier, False, recipients, *made)]
    publish, together = await relays_publish(where)
    ours = await _over(broker, where, ("relay", "store"), messages, {})
    await where.empty()
    carried = messages // together  # of the topic's own messages, each with so many events
    told = {"messages": carried, "file": str(publish), "topic": f"bare-{recipients}"}
    there, seconds, cpu = await _over(broker, where, ("bare-publish", "bare-subscribe"), carried, told)
    bare = Measured(carrier, True, recipients, there * together, seconds, cpu)
    return [Measured(carrier, False, recipients, *ours), bare]


async def _over(
    broker: Redis | Kafka, where: Place, roles: tuple[str, str], messages: int, told: dict[str, Any]
) -> tuple[int, float, dict[str, float]]:
    """Run a publisher and a subscriber, each beside its sidecar; the subscriber starts first, so that nothing waits
    for it."""
    with ExitStack() as stack:
        listening = port()
        hearing = msgspec.structs.replace(ends_of(where, "http://127.0.0.1:9", listening), **told)
        taking = stack.enter_context(End(roles[1], hearing))
        behind = await asyncio.to_thread(stack.enter_context, sidecar(where.folder, broker, roles[1], listening))
        front = await asyncio.to_thread(stack.enter_context, sidecar(where.folder, broker, roles[0], None))
        given = msgspec.structs.replace(ends_of(where, front.url), **told)
        giving = stack.enter_context(End(roles[0], given))
        run = _Run(where, [giving, taking], [_pid(front), _pid(behind)], _pid(broker))

        async def said() -> int:
            return taking.said

        return await run.until(giving, messages, said if told else where.stored)


@dataclass
class _Run:
    """The processes whose time is counted."""

    where: Place
    ends: list[End]
    sidecars: list[int] = field(default_factory=list)
    broker: int | None = None

    async def until(
        self, first: End, messages: int, arrived: Callable[[], Awaitable[int]]
    ) -> tuple[int, float, dict[str, float]]:
        """Start `first`, and return messages, seconds and CPU per million once all have arrived."""
        before, started = self._cpu(), perf_counter()
        first.go()
        while (there := await arrived()) < messages and perf_counter() - started < _PATIENCE_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        seconds, after = perf_counter() - started, self._cpu()
        if there < messages:
            print(f"only {there:,} of {messages:,} arrived in {seconds:.0f} s")
        return there, seconds, {name: after[name] - before[name] for name in after}

    def _cpu(self) -> dict[str, float]:
        used = {"ours": sum(end.cpu() for end in self.ends), "postgres": cpu_seconds(self.where.server, children=True)}
        if self.broker is not None:
            used |= {"daprd": sum(map(cpu_seconds, self.sidecars)), "broker": cpu_seconds(self.broker)}
        return used


async def lay_in(where: Place, recipients: int, messages: int) -> None:
    """Fill the outbox as accepting leaves it: a row for each envelope."""
    database = Database(where.dsn, "orders_notification")
    await database.open()
    try:
        for start in range(0, messages, 5):  # fewer than would be bundled
            made = [
                Outgoing(one.data, one.key, one.tenant, int(one.mode), subject="4711")
                for _ in range(min(5, messages - start))
                for one in envelopes(Job("push", {}, recipients), uuid7(), recipients)
            ]
            async with database.transaction() as connection:
                await connection.execute("set local synchronous_commit = off")
                await append(connection, made)
    finally:
        await database.close()


async def relays_publish(where: Place) -> tuple[Path, int]:
    """Return a file with one of the relay's publishes, for the bare publisher, and the number of events per entry."""
    connection = await asyncpg.connect(where.dsn)
    try:
        size = await connection.fetchval("select length(payload) from orders_notification.outbox limit 1")
        rows = await connection.fetch(
            "select * from orders_notification.outbox order by id limit $1", max(1, PUBLISH_BYTES // size)
        )
    finally:
        await connection.close()
    batches = list(batched(rows))[:MOST_ENTRIES]
    together = len(batches[0])
    whole = [batch for batch in batches if len(batch) == together]
    path = where.folder / "batch"
    path.write_bytes(b"\n".join(msgspec.json.encode(entry) for entry in entries_of(whole)))
    return path, together


def _verdict(all_: list[Measured]) -> dict[str, Any]:
    at_most = [one for one in all_ if one.recipients == 1_000]
    ours = [one for one in at_most if not one.bare]
    return {
        "cheaper_than_the_sidecars": {o.carrier: o.cpu["ours"] < o.cpu["daprd"] for o in ours if "daprd" in o.cpu},
        "fast_enough": {o.carrier: o.recipients_per_second >= GOAL_RECIPIENTS for o in ours},
        "beside_bare": {
            f"{one.carrier}, {one.recipients}": round(one.recipients_per_second / bare.recipients_per_second, 2)
            for one in all_
            for bare in all_
            if (one.carrier, one.recipients) == (bare.carrier, bare.recipients) and bare.bare and not one.bare
        },
    }


async def main(carriers: list[str], sizes: list[int]) -> None:
    """Print each row as soon as it is measured."""
    columns = "".join(f"{part:>10}" for part in _PARTS)
    print(f"{'':<18}{'recipients':>10}{'messages/s':>11}{'recipients/s':>13}{columns}   CPU-s per million recipients")
    all_: list[Measured] = []
    async with place() as where:
        for carrier in carriers:
            with broker_of(carrier, where.folder) as broker:
                for size in sizes:
                    for measured in await measure(carrier, size, where, broker):
                        per = 1e6 / max(1, measured.messages * size)
                        measured.cpu = {name: used * per for name, used in measured.cpu.items()}
                        all_.append(measured)
                        print(measured.row(), flush=True)
    verdict = _verdict(all_)
    print("ours beside bare, recipients a second:", verdict["beside_bare"])
    print(json.dumps({"bench": "bus", **verdict, "measured": [asdict(one) for one in all_]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carriers", default="embedded,redis,kafka")
    parser.add_argument(
        "--recipients", default=",".join(map(str, MESSAGES)), help="recipients an envelope, with commas"
    )
    options = parser.parse_args()
    sizes = options.recipients.split(",")
    if not set(sizes) <= set(map(str, MESSAGES)):
        parser.error(f"--recipients takes {', '.join(map(str, MESSAGES))}.")
    # so that no started process is left behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    asyncio.run(main(options.carriers.split(","), [int(size) for size in sizes]))
