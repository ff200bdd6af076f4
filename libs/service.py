"""A service: its application, database, subscriptions and loops, assembled by its app.py.

api routes ───┐
SUBSCRIPTIONS ├─ Service ─ runs in: the suite's processes (services/__main__.py), or alone in a container
LOOPS ────────┘
"""

import asyncio
import gc
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from libs import dead_letters, probes
from libs.auth import InternalTokens, KeyVerifier, Principal
from libs.bodies import DEFAULT_BODY_BYTES, BodyLimit
from libs.clock import Clock, pause, system_clock
from libs.contracts.envelope import Envelope, Event
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.errors import Transient
from libs.idempotency import Idempotency
from libs.ids import AddressHasher
from libs.keyring import Keyring
from libs.messaging.bus import OtherTopics, Subscriber, Subscriptions
from libs.messaging.dapr import DaprRelay, Sidecar
from libs.messaging.erasing import without_letters
from libs.messaging.figures import OutboxFigures
from libs.messaging.keeping import Kept
from libs.messaging.lookout import Lookout
from libs.messaging.outbox import LANES
from libs.messaging.postgres import Relay
from libs.service_client import Call, ServiceClient, Transport
from libs.storage.database import Database
from libs.telemetry import annotate, get_logger, span
from libs.web import Problem, Router, add_routes, install_problem_handlers

log = get_logger(__name__)

Handle = Callable[[Sequence[Envelope]], Awaitable[None]]
LoopFunction = Callable[[Any, asyncio.Event], Awaitable[None]]
Check = Callable[[], Awaitable[str | None]]  # of a store other than the database: what is wrong with it, if anything
_RESTART_SECONDS = 1.0
_PROBES = ("/health", "/health/live", "/health/ready")

_requests = Counter(
    "depesche_http_requests", "HTTP requests by service, route and status", ["service", "route", "status"]
)
_seconds = Histogram("depesche_http_request_seconds", "Time to answer, in seconds", ["service", "route"])
_restarts = Counter("depesche_loop_restarts", "Loops that failed and were started again", ["service", "loop"])


@dataclass(frozen=True, slots=True)
class SimulatorEndpoints:
    """The URLs of this suite's simulator; written by it, read by delivery and the demo."""

    fcm_url: str
    fcm_ca: str  # path of the PEM file of the authority that signed its certificate
    smtp_host: str
    smtp_port: int
    sms_url: str
    webhook_url: str
    control_url: str


@dataclass(frozen=True)
class Runtime:
    """The environment of a service, passed to every composition root."""

    dsn: str  # {schema} is replaced by the service's schema, so that each connects with its own role
    keyring: Keyring
    transports: Callable[[str], Transport]  # how to reach another service, by its app id
    data_dir: Path
    pooled: bool = False  # the DSN leads to PgBouncer in transaction mode
    slow_sql_seconds: float = 0.5
    trace_url: str = ""  # page of a trace; {trace_id} is replaced
    clock: Clock = system_clock
    simulator: SimulatorEndpoints | None = None
    public_url: str = "http://127.0.0.1:8700"
    settings_file: Path | None = None
    sidecar: Sidecar | None = None  # carries the events; None: the embedded bus
    kept: Kept = field(default_factory=Kept)  # for how long, what every service stores beside its own data
    lookout: Lookout = field(default_factory=Lookout)  # for the outboxes of all services that run here
    tokens: InternalTokens = field(init=False)
    keys: KeyVerifier = field(init=False)
    hasher: AddressHasher = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", InternalTokens(self.keyring.key("internal")))
        object.__setattr__(self, "keys", KeyVerifier(self._ask_access))
        object.__setattr__(self, "hasher", AddressHasher(self.keyring.key("address-hash")))

    def dsn_of(self, schema: str) -> str:
        """Return the DSN by which the service of this schema reaches Postgres."""
        return self.dsn.replace("{schema}", schema)

    def database(self, schema: str, *, max_size: int, server_settings: Mapping[str, str] | None = None) -> Database:
        """Return the database of this schema's service, not yet open."""
        return Database(
            self.dsn_of(schema),
            schema,
            max_size=max_size,
            server_settings=server_settings or {},
            pooled=self.pooled,
            slow_seconds=self.slow_sql_seconds,
        )

    def client(self, caller: str, name: str) -> ServiceClient:
        """Return the client that `caller` uses to call `name` (app ids with hyphens)."""

        async def late(call: Call) -> tuple[int, bytes]:
            # looked up at the call: services are built one after another and refer to one another
            return await self.transports(name)(call)

        return ServiceClient(name, caller, self.tokens, late)

    async def _ask_access(self, key: str) -> Principal:
        answer = await self.client("suite", "access").post("/v1/keys:verify", {"key": key}, tenant=0, mode=Mode.LIVE)
        mode = Mode.parse(answer["mode"])
        return Principal(answer["tenant"], mode, answer["key_id"], frozenset(answer["scopes"]))


@dataclass
class Service:
    """One service, assembled. `resources` are opened after the database and closed before it."""

    name: str  # app id, with hyphens; the schema is the same with underscores
    runtime: Runtime
    deps: Any
    database: Database | None
    routers: Sequence[APIRouter]
    subscriptions: Subscriptions = field(default_factory=dict)
    topics: OtherTopics | None = None  # topics of others that it consumes, if it runs beside a sidecar
    loops: Mapping[str, LoopFunction] = field(default_factory=dict)
    resources: Sequence[AbstractAsyncContextManager[Any]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    body_limits: Mapping[str, int] = field(default_factory=dict)  # path prefix → bytes
    title: str = ""
    app: FastAPI = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.app = FastAPI(
            title=self.title or f"Depesche {self.name}",
            lifespan=lambda _: self.running(),
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
        )
        self.app.state.runtime = self.runtime
        self.app.state.deps = self.deps
        self.app.state.service = self
        install_problem_handlers(self.app)
        add_routes(self.app, *self.routers, probes.health)
        if self.database is not None:
            add_routes(self.app, dead_letters.router)
            self.app.add_middleware(Idempotency, database=self.database, keyring=self.runtime.keyring)
        self.app.add_middleware(BodyLimit, limits=self.body_limits, default=DEFAULT_BODY_BYTES)
        # outermost, around the handler that turns bugs into a 500: its response and log line need the trace too
        self.app.middleware_stack = _Observed(self.app.build_middleware_stack(), service=self.name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the database and resources open; does not run the loops."""
        async with AsyncExitStack() as stack:
            if self.database is not None:
                await self.database.open()
                stack.push_async_callback(self.database.close)
            for resource in self.resources:
                await stack.enter_async_context(resource)
            yield

    def subscribers(self) -> list[Subscriber]:
        """Return its subscriptions with its dependencies bound."""
        return [
            Subscriber(self.name, event.TYPE, self._bound(event, partial(handler, self.deps)))
            for event, handler in self.subscriptions.items()
        ]

    def _bound(self, event: type[Event], handle: Handle) -> Handle:
        """An erasure covers the service's dead letters too."""
        if event is not RecipientErased or self.database is None:
            return handle
        return partial(without_letters, self.database, handle)

    async def run_loops(
        self, stop: asyncio.Event, subscribers: Sequence[Subscriber], chosen: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Run the chosen loops, its own and its outbox's (`relay`, `relay-later`, `figures`), until `stop`.

        A loop that fails is restarted; one that an outage ends is too, and is not counted."""
        loops: dict[str, Callable[[asyncio.Event], Awaitable[None]]] = {
            name: partial(loop, self.deps) for name, loop in self.loops.items() if chosen(name)
        }
        if self.database is not None:
            if relay := self._relay(self.database, subscribers, chosen):
                loops["relay"] = relay.run
            if chosen("figures"):
                loops["figures"] = OutboxFigures(self.name, self.database).run
        async with asyncio.TaskGroup() as group:
            for name, loop in loops.items():
                self._tasks.append(group.create_task(self._kept(name, loop, stop), name=f"{self.name} {name}"))

    def _relay(
        self, database: Database, subscribers: Sequence[Subscriber], chosen: Callable[[str], bool]
    ) -> DaprRelay | Relay | None:
        """`relay` publishes urgent events, `relay-later` those that may wait; beside a sidecar, `relay` does both."""
        kept = self.runtime.kept
        if sidecar := self.runtime.sidecar:
            return DaprRelay(database, self.subscribers(), sidecar=sidecar, kept=kept) if chosen("relay") else None
        lanes = [lane for lane, name in zip(LANES, ("relay", "relay-later"), strict=True) if chosen(name)]
        return Relay(database, subscribers, lanes, lookout=self.runtime.lookout, kept=kept) if lanes else None

    def ended(self) -> list[str]:
        """Return loops that ended without being told to and will not be restarted: a cancellation that leaks out of a
        library ends a task silently."""
        return [task.get_name() for task in self._tasks if task.done() and (task.cancelled() or task.exception())]

    async def _kept(self, name: str, loop: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await loop(stop)
            except Transient as error:  # an outage is no failure of the loop
                log.warning("loop_waits", service=self.name, loop=name, detail=error.detail)
                await pause(stop, _RESTART_SECONDS)
            except Exception as error:
                _restarts.labels(self.name, name).inc()
                log.error("loop_failed", service=self.name, loop=name, exc_info=error)
                await asyncio.sleep(_RESTART_SECONDS)


@dataclass(frozen=True, slots=True)
class _Observed:
    """A span, a count and a duration for each request, except for probes."""

    app: ASGIApp
    service: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(_PROBES):
            await self.app(scope, receive, send)
            return
        status = 500

        async def observed(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"traceparent"), None)
        started = asyncio.get_running_loop().time()
        with span(f"{scope['method']} /{self.service}", parent=parent) as current:
            try:
                await self.app(scope, receive, observed)
            finally:
                # the route, not the path: a path can contain a signed link
                route = getattr(scope.get("route"), "path", "unmatched")
                current.update_name(f"{scope['method']} /{self.service}{route}")
                annotate(current, **{"http.response.status_code": status})
                _requests.labels(self.service, route, str(status)).inc()
                _seconds.labels(self.service, route).observe(asyncio.get_running_loop().time() - started)


def allow_descriptors() -> None:
    """Raise the process's descriptor limit to the system's maximum. A shell gives 1,024, and every connection takes
    one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def calm_garbage_collection() -> None:
    """Tune the garbage collector of a process that runs services; call once, after its imports.

    Imported objects live for ever; batches create objects by the thousand that die young by reference count. This
    saves a fifth of the CPU in intake and sender."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


__all__ = [
    "Check",
    "LoopFunction",
    "Problem",
    "Router",
    "Runtime",
    "Service",
    "SimulatorEndpoints",
    "allow_descriptors",
    "calm_garbage_collection",
]
