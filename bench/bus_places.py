"""The environment of a bus measurement: Postgres, a broker, a sidecar for each end, and the ends."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec

from bench.bus_ends import Ends
from bench.postgres import fresh_postgres
from bench.sinks import cpu_seconds
from cli.engines.daprd import Daprd, Sidecar
from cli.engines.engine import free_port
from cli.engines.kafka import Kafka
from cli.engines.redis import Redis
from libs.storage.migrations import migrate

_SCHEMAS = {name: Path("services") / name / "migrations" for name in ("orders_notification", "delivery")}
_EMPTY = "truncate delivery.request, delivery.work, delivery.outbox, orders_notification.outbox cascade"
_TOKENS = ("what callers of the sidecar send", "what the sidecar sends to us")
_COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: bus}}
spec:
  type: pubsub.{kind}
  version: v1
  metadata:
"""
# With limited retries, messages left by a stopped end would circulate on its dead-letter topic until memory is full.
_RESILIENCY = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: for-ever}
spec:
  policies: {retries: {for-ever: {policy: constant, duration: 1s, maxRetries: -1}}}
  targets: {components: {bus: {inbound: {retry: for-ever}}}}
"""
# as in dapr/components, except for logins and scopes
_REDIS = {"concurrency": "400", "queueDepth": "400", "processingTimeout": "260s", "redeliverInterval": "5s"}
_KAFKA = {"authType": "none", "initialOffset": "oldest", "maxMessageBytes": "4194304"}


@dataclass(frozen=True)
class Place:
    """A database with both services' schemas, its server's process, and a folder."""

    dsn: str
    server: int
    folder: Path

    async def ask(self, statement: str) -> int:
        connection = await asyncpg.connect(self.dsn)
        try:
            return int(await connection.fetchval(statement) or 0)
        finally:
            await connection.close()

    async def stored(self) -> int:
        return await self.ask("select count(*) from delivery.request")

    async def empty(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(_EMPTY)
        finally:
            await connection.close()


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """Yield a fresh Postgres with both services' schemas."""
    with fresh_postgres() as fresh:
        await migrate(fresh.dsn, _SCHEMAS)
        yield Place(fresh.dsn, fresh.server, fresh.folder)


@contextmanager
def broker_of(carrier: str, folder: Path) -> Iterator[Redis | Kafka | None]:
    """Yield the carrier's broker; the embedded bus needs none."""
    if carrier == "embedded":
        yield None
        return
    with Redis(folder) if carrier == "redis" else Kafka(folder) as broker:
        yield broker


@dataclass
class End:
    """One end of the bus as a process; `said` is the last number that it printed."""

    role: str
    ends: Ends
    said: int = 0
    _process: "subprocess.Popen[str] | None" = None
    _ready: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "End":
        command = [sys.executable, "-m", "bench.bus_ends", self.role]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell(msgspec.json.encode(self.ends).decode())
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._ready.wait(180), f"{self.role} did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def go(self) -> None:
        self._tell("go")

    def cpu(self) -> float:
        assert self._process is not None
        return cpu_seconds(self._process.pid)

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                self._ready.set()
            else:
                self.said = int(line)


@contextmanager
def sidecar(folder: Path, broker: Redis | Kafka, app_id: str, app_port: int | None) -> Iterator[Daprd]:
    """Yield a sidecar. All of one application's are one consumer group, which continues where the last one ended."""
    resources = folder / f"resources-{uuid4().hex[:8]}"
    resources.mkdir(parents=True)
    kind = "redis" if isinstance(broker, Redis) else "kafka"
    given = {"redisHost": broker.address} | _REDIS if kind == "redis" else {"brokers": broker.address} | _KAFKA
    lines = "".join(f'  - {{name: {name}, value: "{value}"}}\n' for name, value in given.items())
    (resources / "bus.yaml").write_text(_COMPONENT.format(kind=kind) + lines)
    (resources / "resiliency.yaml").write_text(_RESILIENCY)
    api, app = _TOKENS
    beside = Sidecar(
        app_id=app_id, app_port=app_port, resources=[resources], api_token=api, app_token=app,
        log_level="warn",
    )  # fmt: skip
    with Daprd(folder, beside) as daprd:
        yield daprd


def ends_of(place: Place, daprd_url: str = "", port: int = 0) -> Ends:
    return Ends(dsn=place.dsn, port=port, sidecar=daprd_url, tokens=_TOKENS)


def port() -> int:
    return free_port()
