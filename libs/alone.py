"""Run one service as its own process, for a container: its API, a role's loops and its probes, on one port.

It serves the paths of the whole suite (`/delivery/v1/…`) and its own (`/v1/…`), which other services call. On the
embedded bus, `python -m services relay` publishes its outbox, because that process knows every subscriber: a relay
that knew only this service's subscribers would delete events that others still need. Beside a Dapr sidecar the
service publishes its own outbox, and the process that runs its loops receives the sidecar's events.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs import probes
from libs.errors import Invalid, Permanent, Unavailable
from libs.http_server import HttpProtocol
from libs.keyring import keyring_of
from libs.messaging.dapr import sidecar_here
from libs.messaging.routes import Intake, router_of
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, HttpTransport, Transport
from libs.suite import SuiteSettings, runtime_from
from libs.telemetry import get_logger
from libs.web import add_routes, install_problem_handlers, problem_response

log = get_logger(__name__)

_LAST_WORDS_SECONDS = 5.0
# longer than a caller keeps an idle connection (Go, and so a sidecar, 90 s; nginx 60 s; our clients 30 s): a request
# that crosses with our close is lost
_IDLE_SECONDS = 120
_CUT_OFF = "Depesche is shutting down. Send the request again when it is back: what was accepted is deduplicated."


class CannotRunAlone(Permanent):
    """Something that a service needs to run alone is missing; the detail says what to do."""

    slug = "cannot-run-alone"
    title = "Cannot run alone"


@dataclass(slots=True)
class Neighbours:
    """How a service that runs alone reaches the others: at their URLs. It calls itself directly."""

    url: str  # {name} stands for the service
    headers: Mapping[str, str] = field(default_factory=dict)  # the sidecar's token, if calls go through it
    own: dict[str, ASGIApp] = field(default_factory=dict)
    _made: dict[str, Transport] = field(default_factory=dict)

    def __call__(self, name: str) -> Transport:
        if name not in self._made:
            straight = name in self.own
            self._made[name] = (
                AsgiTransport(lambda: self.own[name])
                if straight
                else HttpTransport(self.url.format(name=name), self.headers)
            )
        return self._made[name]

    async def aclose(self) -> None:
        """Close the connections to the other services."""
        for transport in self._made.values():
            if isinstance(transport, HttpTransport):
                await transport.aclose()


def build(name: str, create: Callable[[Runtime], Service], settings: SuiteSettings) -> Service:
    """Build the service over its own runtime, without opening anything. Raises Invalid or CannotRunAlone."""
    if not settings.dsn.get_secret_value():
        raise Invalid("Set this: a service that runs alone does not start its own Postgres.", pointer="DEPESCHE_DSN")
    if "{name}" not in settings.service_url:
        raise Invalid("It must contain {name}, the placeholder for the service.", pointer="DEPESCHE_SERVICE_URL")
    if not (settings.data_dir / "secret").is_file():
        raise CannotRunAlone(
            f"{settings.data_dir / 'secret'} does not exist. All services share one secret: mount "
            "the file from `depesche up`, or 32 random bytes in hex, and set DEPESCHE_DATA_DIR to its folder."
        )
    sidecar = sidecar_here(settings.bus, settings.pubsub)
    through_it = sidecar is not None and settings.service_url.startswith(f"{sidecar.url}/")
    neighbours = Neighbours(
        settings.service_url, {"dapr-api-token": sidecar.api_token} if sidecar and through_it else {}
    )
    runtime = runtime_from(settings, keyring_of(settings.data_dir), neighbours, sidecar)
    service = create(runtime)
    neighbours.own[name] = service.app
    service.resources = (aclosing(neighbours), *service.resources)  # closed last: others call until then
    return service


def create_app(service: Service, *, api: bool, events: bool = False) -> FastAPI:
    """Return probes and metrics, plus the API and the sidecar's routes if requested; enter `service.running` around
    it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_problem_handlers(app)
    app.state.runtime = service.runtime
    app.state.service = service
    add_routes(app, probes.health, probes.figures)
    if events and service.runtime.sidecar is not None and service.database is not None:
        intake = Intake(service.name, service.database, service.subscribers())
        add_routes(app, router_of(intake, service.runtime.sidecar, service.topics))
    if api:
        app.mount(f"/{service.name}", service.app)
        app.mount("/", service.app)
    return app


class _Server(uvicorn.Server):
    """Leaves signals to `serve_http`. uvicorn re-raises them when it ends, which would kill the process before its
    loops have finished."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: ASGIApp, host: str, port: int, *, drain_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT, finish requests in flight, then return.

    Requests that take longer than a third of `drain_seconds`, such as an upload, are cut off: the loops need the
    rest."""
    config = uvicorn.Config(
        _told(app), host=host, port=port, http=HttpProtocol, log_config=None, access_log=False,
        timeout_graceful_shutdown=max(1, round(drain_seconds / 3)), timeout_keep_alive=_IDLE_SECONDS,
    )  # fmt: skip
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve()
    if server.server_state.tasks:  # cancelled a moment ago; they record how far they came
        await asyncio.wait(server.server_state.tasks, timeout=_LAST_WORDS_SECONDS)


def _told(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that a caller who is cut off before the response has started gets the reason."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, noted)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            await problem_response(Unavailable(_CUT_OFF))(scope, receive, send)

    return told


async def serve(
    service: Service, settings: SuiteSettings, role: str, loops: Mapping[str, Callable[[str], bool]]
) -> None:
    """Serve until told to stop; the loops then finish the work they have started. `loops` selects them by role."""
    app = create_app(service, api=role in ("api", "all"), events=role in ("worker", "all"))
    chosen = loops.get(role)
    relayed_elsewhere = () if service.runtime.sidecar else ("relay", "relay-later")
    stop = asyncio.Event()
    async with service.running():
        working = asyncio.create_task(
            service.run_loops(
                stop, (), lambda name: chosen is not None and name not in relayed_elsewhere and chosen(name)
            )
        )
        log.info("service_started", service=service.name)
        await serve_http(app, settings.host, settings.port, drain_seconds=settings.drain_seconds)
        stop.set()
        await working
    log.info("service_stopped", service=service.name)
