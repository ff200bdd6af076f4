"""How long a replay with other rules takes: a million stored facts, through the service's own loop.

    python -m bench.bounce_replay [--facts N]

Replies are made from the shipped rules' examples, each with an id of its own; three facts in four are the only one of
their address. The other rules claim some replies of `unknown-user`. Last line: JSON.
"""

import argparse
import asyncio
import json
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from bench.bounce_rows import texts_of
from bench.postgres import Fresh, fresh_postgres
from libs.auth import Principal
from libs.contracts.outcomes import Mode
from libs.keyring import Keyring
from libs.privacy import redacted
from libs.service import Runtime
from libs.service_client import Transport
from libs.storage.migrations import migrate
from libs.telemetry import configure_logs
from services.bounce.adapters.shipped_rules import shipped_rules
from services.bounce.app import create_service
from services.bounce.domain.facts import of_text
from services.bounce.domain.rules.entries import State, Wanted
from services.bounce.domain.rules.rule import Layer
from services.bounce.handlers import Bounce
from services.bounce.handlers.replays import ask_for_replay, run_next
from services.bounce.handlers.rules import put_rule
from services.bounce.ports.replays import Asked
from services.bounce.settings import BounceSettings

MIGRATIONS = Path(__file__).parents[1] / "services" / "bounce" / "migrations"
COLUMNS = (
    "id", "tenant", "mode", "at", "category", "permanent", "origin", "address_hash", "message", "text", "reply_code",
    "enhanced_code", "provider", "rule", "rule_set", "template",
)  # fmt: skip
DAYS = 30
_TEXTS = 20_000
_TELL_SECONDS = 20.0
TAKEN: dict[str, Any] = {"category": "policy", "contains": ["user unknown", "no such user"], "priority": 999}


async def measure(fresh: Fresh, facts: int, folder: Path) -> dict[str, Any]:
    """Return the seconds of a replay with other rules, and its result."""
    await migrate(fresh.dsn, {"bounce": MIGRATIONS})
    runtime = Runtime(dsn=fresh.dsn, keyring=Keyring(bytes(32)), transports=_nobody, data_dir=folder)
    service = create_service(runtime, BounceSettings())
    assert service.database is not None
    await service.database.open()
    try:
        started = time.perf_counter()
        await _fill(fresh.dsn, service.deps, facts)
        print(f"{facts:,} facts made in {time.perf_counter() - started:.0f} s", flush=True)
        who = Principal(1, Mode.LIVE, "bench")
        await put_rule(service.deps, who, Wanted("taken", Layer.ORGANISATION, State.LIVE, TAKEN), lambda _: None)
        now = datetime.now(UTC)
        asked = Asked(now - timedelta(days=DAYS + 1), now + timedelta(days=1), "working", {}, None)
        replay = await ask_for_replay(service.deps, who, asked)
        await service.deps.workshop.prepare(())  # every process that reads bounces compiles the shipped rules
        started, own = time.perf_counter(), time.process_time()
        telling = asyncio.create_task(_tell(service.deps, replay.id))
        await run_next(service.deps, asyncio.Event())
        telling.cancel()
        seconds, cpu = time.perf_counter() - started, time.process_time() - own
        done = await service.deps.replays.get(1, Mode.LIVE, replay.id)
        assert done is not None
        assert done.result is not None, done.problem
        return {"seconds": round(seconds, 1), "own_cpu": round(cpu, 1)} | dict(done.result)
    finally:
        await service.database.close()


async def _tell(deps: Bounce, id: UUID) -> None:
    """Report progress, so that an interrupted run says something too."""
    started = time.perf_counter()
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        replay = await deps.replays.get(1, Mode.LIVE, id)
        if replay is not None:
            print(f"{replay.facts_done:,} played after {time.perf_counter() - started:.0f} s", flush=True)


async def _fill(dsn: str, deps: Bounce, facts: int) -> None:
    classifier = await deps.rulebook.current()
    texts = [redacted(text) for text in texts_of(shipped_rules(), _TEXTS)]
    # an appended number does not change a reply's meaning
    judged = [(text, of_text(f"{text} {_TEXTS:010X}", classifier)) for text in texts]
    now = datetime.now(UTC)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "bounce", "timezone": "UTC"})
    try:
        for begin in range(0, facts, _TEXTS):
            rows = []
            for number, (reply, fact) in enumerate(judged[: facts - begin], start=begin):
                text = f"{reply} {number:010X}"  # no two are alike
                at = now - timedelta(seconds=DAYS * 86_400 * number / facts)
                address = (number % (facts * 3 // 4)).to_bytes(32, "big")
                said = (text[:500], fact.reply_code, fact.enhanced, fact.provider or "", fact.rule, fact.rule_set)
                head = (
                    UUID(int=number + 1),
                    1,
                    1,
                    at,
                    fact.category,
                    fact.permanent,
                    "session",
                    address,
                    f"{number}.1",
                )
                rows.append((*head, *said, fact.template))
            await connection.copy_records_to_table("bounce", records=rows, columns=COLUMNS)
        await connection.execute("vacuum analyze bounce")
    finally:
        await connection.close()


def _nobody(name: str) -> Transport:
    raise AssertionError(f"{name} is not asked here")


def main() -> None:
    """Fill, replay, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.bounce_replay", description=__doc__)
    parser.add_argument("--facts", type=int, default=1_000_000)
    options = parser.parse_args()
    configure_logs(service="bench", level="error")
    with fresh_postgres() as fresh:
        found = asyncio.run(measure(fresh, options.facts, fresh.folder / "rules"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{found['facts']:,} facts about {found['addresses']:,} addresses in {found['seconds']} s, {memory} MB at most"
    )
    print(f"{found['vanish']:,} suppressions would vanish, {found['appear']:,} appear; {len(found['moves'])} moves")
    names = ("facts", "seconds", "own_cpu", "vanish")
    print(json.dumps({"bench": "bounce_replay", **{name: found[name] for name in names}, "memory_mb": memory}))


if __name__ == "__main__":
    main()
