"""One service as a process of its own, for a container: its API, the loops of a role, its probes, on one port.

The paths are those of the whole suite (`/delivery/v1/…`), and the service's own (`/v1/…`), by which the others call it.
On the embedded bus its outbox is left to a process that knows every subscriber (`python -m services relay`): a relay
with this service's subscribers alone would throw away what the others have not heard. Beside Dapr's sidecar it
publishes itself, and whoever runs its loops takes what the sidecar brings.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
_CUT_OFF = "Depesche is being stopped. Send it again when it runs: what has been taken is known again."


class CannotRunAlone(Permanent):
    """Something that a service alone needs is not there; the detail says what to do."""

    slug = "cannot-run-alone"
    title = "Cannot run alone"


@dataclass(slots=True)
class Neighbours:
    """How a service alone reaches the others: at their URLs, and itself straight."""

    url: str  # {name} stands for the service
    headers: Mapping[str, str] = field(default_factory=dict)  # the sidecar's token, where calls go through it
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


def build(name: str, create: Callable[[Runtime], Service], settings: SuiteSettings) -> Service:
    """The service over its own runtime; nothing is opened yet. Raises Invalid or CannotRunAlone."""
    if not settings.dsn.get_secret_value():
        raise Invalid("Set it: a service alone brings no Postgres with it.", pointer="DEPESCHE_DSN")
    if "{name}" not in settings.service_url:
        raise Invalid("It has no {name}, which stands for the service.", pointer="DEPESCHE_SERVICE_URL")
    if not (settings.data_dir / "secret").is_file():
        raise CannotRunAlone(
            f"{settings.data_dir / 'secret'} is not there. All services share one: mount the file that `depesche up` "
            "made, or 32 random bytes in hex, and name its folder with DEPESCHE_DATA_DIR."
        )
    sidecar = sidecar_here(settings.bus, settings.pubsub)
    through_it = sidecar is not None and settings.service_url.startswith(f"{sidecar.url}/")
    neighbours = Neighbours(
        settings.service_url, {"dapr-api-token": sidecar.api_token} if sidecar and through_it else {}
    )
    runtime = runtime_from(settings, keyring_of(settings.data_dir), neighbours, sidecar)
    service = create(runtime)
    neighbours.own[name] = service.app
    return service


def create_app(service: Service, *, api: bool, events: bool = False) -> FastAPI:
    """Probes and metrics, the API and the sidecar's routes where wanted; enter `service.running` around it."""
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
    """Leaves signals to `serve_http`: uvicorn's own way is to raise them again when it has ended, and that would end
    the process before its loops have finished what they have begun."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: ASGIApp, host: str, port: int, *, drain_seconds: float) -> None:
    """Answers until SIGTERM or SIGINT, then ends what it has begun; the process goes on behind it.

    What takes longer than a third of `drain_seconds`, as a file that streams in, is cut off: the loops need their time.
    """
    config = uvicorn.Config(
        _told(app), host=host, port=port, http=HttpProtocol, log_config=None, access_log=False,
        timeout_graceful_shutdown=max(1, round(drain_seconds / 3)),
    )  # fmt: skip
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve()
    if server.server_state.tasks:  # cancelled a moment ago; they note how far they came
        await asyncio.wait(server.server_state.tasks, timeout=_LAST_WORDS_SECONDS)


def _told(app: ASGIApp) -> ASGIApp:
    """The same; who is cut off before the answer has begun is told why."""

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
    """Runs until told to stop; then the loops finish what they have begun. `loops` choose by role."""
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
