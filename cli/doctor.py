"""`depesche doctor`: checks this installation. Each finding says what to do."""

import asyncio
import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli import doctor_stores, local
from cli.exits import Exit
from cli.findings import Finding
from cli.session import Session, command
from libs import credentials
from libs.errors import DepescheError, Permanent
from libs.near import did_you_mean, near

if TYPE_CHECKING:
    from libs.suite import SuiteSettings

# of the command line, and of the sidecars' components
_OTHER_NAMES = (
    "DEPESCHE_URL",
    "DEPESCHE_KEY",
    "DEPESCHE_MODE",
    "DEPESCHE_ENGINES",
    "DEPESCHE_KAFKA_",
    "DEPESCHE_REDIS_",
)
_LOW_DISK_BYTES = 1 << 30
_CLOCK_SECONDS = 2.0
_OLDEST_POSTGRES = 15
_OUTBOX_LAG_SECONDS = 60

# what must always be empty (ledger.md), each with a sentence about what it would mean
ALWAYS_EMPTY = {
    "pending messages without work": (
        "select count(*) from delivery.request r where r.pending > 0"
        " and not exists (select from delivery.work w where w.request_id = r.id)",
        "They would wait for ever. This is a bug; report it with the requests' ids.",
    ),
    "held work without a hold": (
        "select count(*) from delivery.work w join delivery.request r on r.id = w.request_id"
        " where w.held and not exists (select from delivery.hold h"
        "  where h.active and h.tenant = r.tenant and h.mode = r.mode and case h.kind"
        "   when 'cause' then h.key = r.cause_id::text when 'release' then h.key = r.release_id::text"
        "   when 'sender' then h.key = w.held_sender::text else true end)",
        "A lifted hold did not release its work. This is a bug: place and lift the hold again, and report it.",
    ),
    "coming days without a partition": (
        "select count(*) from generate_series(0, 1) d"
        " where to_regclass('delivery.message_' || to_char((now() at time zone 'utc')::date + d, 'YYYYMMDD')) is null",
        "Nothing could be claimed on those days. Check that a worker runs: it creates partitions days ahead.",
    ),
}
_SILENT_TOPICS = """
select distinct concat(definition #>> '{topic,component}', '/', definition #>> '{topic,name}') as topic
from orders_notification.source s where definition ? 'topic' and not exists (
  select from orders_notification.topic_listener l
  where l.component = s.definition #>> '{topic,component}' and l.topic = s.definition #>> '{topic,name}'
    and l.state = 'heard' and l.seen_at > now() - interval '1 minute')
order by 1
"""
_OUTBOX = "select count(*) from {schema}.outbox where created_at < now() - interval '{seconds} seconds'"
_DEAD = "select count(*) from {schema}.dead_letter"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor", example="depesche doctor --json")(doctor)


def doctor(session: Session, dsn: local.Dsn = None) -> None:
    """Check Python, folder, ports, clock, Postgres, other stores, migrations and the ledger's own rules."""
    local.logs_to_stderr()
    findings = list(_examined(session, dsn))
    wrong = any(finding.state == "wrong" for finding in findings)
    session.give({"healthy": not wrong, "findings": [asdict(one) for one in findings]}, lambda _: _shown(findings))
    if wrong:
        raise typer.Exit(Exit.REFUSED)


def _examined(session: Session, dsn: str | None) -> Iterator[Finding]:
    from libs.suite import load_suite

    yield _python()
    try:
        settings = load_suite()
        local.settings_classes()
    except DepescheError as error:
        for field in error.errors:
            yield Finding("settings", "wrong", f"{field.pointer}: {field.detail}", "Correct or unset it.")
        return
    yield Finding("settings", "ok", "every value is valid")
    yield from _misspelt(os.environ)
    yield _folder(settings.data_dir.resolve())
    yield _secrets(settings.data_dir)
    yield from _suite(session, settings)
    yield from asyncio.run(doctor_stores.stores())
    try:
        found = local.target(dsn)
    except DepescheError as error:
        state: Literal["warning", "wrong"] = "wrong" if isinstance(error, Permanent) else "warning"
        yield Finding("postgres", state, error.detail)
        return
    yield from asyncio.run(_database(found))


def _misspelt(environment: Iterable[str]) -> Iterator[Finding]:
    """Variables with our prefix that nothing reads: in the file, an unknown name is an error."""
    known = local.setting_names()
    for name in sorted(environment):
        if name.startswith("DEPESCHE_") and name not in known and not name.startswith(_OTHER_NAMES):
            found = f"nothing reads {name}.{did_you_mean(near(name, known))}"
            yield Finding("settings", "warning", found, "`depesche settings` lists all names.")


def _python() -> Finding:
    # an older one does not get here: the package cannot be installed on it
    return Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _folder(folder: Path) -> Finding:
    place = folder if folder.exists() else folder.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("data folder", "wrong", f"{folder} is not writable", "Choose another with DEPESCHE_DATA_DIR.")
    free = shutil.disk_usage(place).free
    if free < _LOW_DISK_BYTES:
        text = f"{folder}: {free / (1 << 30):.1f} GiB free"
        return Finding("data folder", "warning", text, "Free some space: Postgres stops when the disk is full.")
    return Finding("data folder", "ok", f"{folder}, {free / (1 << 30):.0f} GiB free")


def _secrets(folder: Path) -> Finding:
    for path in (folder / "secret", folder / credentials.FILE_NAME):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            return Finding("secrets", "wrong", f"{path} is readable by others", f"chmod 600 {path}")
    if not (folder / "secret").exists():
        return Finding("secrets", "ok", "none yet: `depesche up` creates them")
    return Finding("secrets", "ok", "readable only by their owner")


def _suite(session: Session, settings: "SuiteSettings") -> Iterator[Finding]:
    try:
        answer = httpx.get(f"{session.url}/health", timeout=3.0)
        yield Finding("suite", "ok", f"{session.url} answers {answer.status_code}")
        if session.key is None:
            advice = "Run this beside the data folder, or set DEPESCHE_KEY."
            yield Finding("key", "warning", "no API key was found", advice)
    except httpx.HTTPError as error:
        yield Finding("suite", "warning", f"{session.url} does not answer ({type(error).__name__})", "depesche up")
        yield _port(settings.host, settings.port)


def _port(host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = "Stop the program that listens there, or choose another port with DEPESCHE_PORT."
            return Finding("port", "wrong", f"{host}:{port} cannot be used: {error.strerror}", advice)
    return Finding("port", "ok", f"{host}:{port} is free")


async def _database(dsn: str) -> list[Finding]:
    import asyncpg

    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        advice = "Start it, or check DEPESCHE_DSN (or --dsn)."
        return [Finding("postgres", "wrong", f"it does not answer: {error or type(error).__name__}", advice)]
    try:
        findings = [await _version(connection), await _clock(connection)]
        migrations = await _migrations(dsn)
        findings.append(migrations)
        if migrations.state == "ok":
            findings += await _ledger(connection) + await _outboxes(connection) + await _topics(connection)
            findings.append(await doctor_stores.spill(connection))
        return findings
    finally:
        await connection.close()


async def _version(connection: Any) -> Finding:
    version = await connection.fetchval("select current_setting('server_version')")
    if connection.get_server_version().major < _OLDEST_POSTGRES:
        return Finding("postgres", "wrong", f"version {version}", f"Use {_OLDEST_POSTGRES} or newer.")
    return Finding("postgres", "ok", f"version {version}")


async def _clock(connection: Any) -> Finding:
    before = datetime.now(UTC)
    theirs = await connection.fetchval("select clock_timestamp()")
    least, most = apart(before, theirs, datetime.now(UTC))
    if least > _CLOCK_SECONDS:
        advice = "Synchronise both clocks by NTP: expiry uses this clock, leases use the database's."
        return Finding("clock", "wrong", f"{least:.1f} s from the database's", advice)
    return Finding("clock", "ok", f"at most {most * 1000:.0f} ms from the database's")


def apart(before: datetime, theirs: datetime, after: datetime) -> tuple[float, float]:
    """Return by how many seconds two clocks differ, at least and at most; theirs was read between the two others."""
    least = max(before - theirs, theirs - after, timedelta())
    return least.total_seconds(), max(abs(theirs - before), abs(after - theirs)).total_seconds()


async def _migrations(dsn: str) -> Finding:
    from libs.storage.migrations import pending
    from services.__main__ import migration_folders

    missing = await pending(dsn, migration_folders())
    if missing:
        advice = "Run `depesche migrate`, or start `depesche up`."
        return Finding("migrations", "wrong", f"{len(missing)} have not run: {', '.join(missing[:5])}", advice)
    return Finding("migrations", "ok", "every schema is current")


async def _ledger(connection: Any) -> list[Finding]:
    findings = []
    for name, (statement, advice) in ALWAYS_EMPTY.items():
        count = await connection.fetchval(statement)
        findings.append(Finding(name, "wrong" if count else "ok", str(count or "none"), advice if count else ""))
    return findings


async def _outboxes(connection: Any) -> list[Finding]:
    schemas = [
        row["schema"]
        for row in await connection.fetch(
            "select table_schema as schema from information_schema.tables where table_name = 'outbox' order by 1"
        )
    ]
    return [
        await _counted(connection, schemas, _OUTBOX, "events waiting to be published", _LAG_ADVICE),
        await _counted(connection, schemas, _DEAD, "dead letters", _DEAD_ADVICE),
    ]


_LAG_ADVICE = "Check that a worker runs, and its log; waiting events are published once it does."
_DEAD_ADVICE = "`depesche deadletters groups` says why; fix the cause, then run `depesche deadletters replay`."


async def _topics(connection: Any) -> list[Finding]:
    silent = [row["topic"] for row in await connection.fetch(_SILENT_TOPICS)]
    if not silent:
        return [Finding("topics that nobody consumes", "ok", "none")]
    advice = "`depesche sources list` shows their state; topics need Dapr, and a sidecar that was started after them."
    return [Finding("topics that nobody consumes", "warning", ", ".join(silent), advice)]


async def _counted(connection: Any, schemas: Sequence[str], statement: str, name: str, advice: str) -> Finding:
    found = {}
    for schema in schemas:
        count = await connection.fetchval(statement.format(schema=schema, seconds=_OUTBOX_LAG_SECONDS))
        if count:
            found[schema] = count
    if not found:
        return Finding(name, "ok", "none")
    return Finding(name, "warning", ", ".join(f"{schema} {count}" for schema, count in found.items()), advice)


def _shown(findings: Sequence[Finding]) -> RenderableType:
    marks: dict[str, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "red bold")}
    made = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        made.add_column(overflow="fold")
    for finding in findings:
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style="yellow")
        made.add_row(Text(*marks[finding.state]), finding.check, text)
    return made
