"""The whole suite: topology on one page.

    python -m services api        every service's HTTP API on one port
    python -m services worker     every service's loops and outbox relays, but the sender of the bulk lane
    python -m services bulk       the sender of the bulk lane: a campaign never holds an order's event loop
    python -m services all        all of them in one process
    python -m services openapi    the merged OpenAPI document on standard output

Each service is built by its own app.py; here they are only put side by side. Within a process they call one
another straight (`asgi:`), over the bus they meet through their outboxes.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST

from libs.auth import Principal, public, scope
from libs.keyring import Keyring, keyring_of
from libs.openapi import merged
from libs.service import Runtime, Service, calm_garbage_collection
from libs.service_client import AsgiTransport
from libs.suite import SuiteSettings, load_suite, read_simulator, settings_file
from libs.telemetry import configure_logs, configure_tracing, get_logger
from libs.telemetry.metrics import exposition
from libs.web import Router, install_problem_handlers
from services.access.app import create_service as access
from services.bounce.app import create_service as bounce
from services.delivery.app import create_service as delivery
from services.history.app import create_service as history
from services.orders_notification.app import create_service as orders_notification
from services.templates.app import create_service as templates
from services.tokens.app import create_service as tokens

log = get_logger("suite")

# which loops a process runs, by name
ROLES: Mapping[str, Callable[[str], bool]] = {
    "worker": lambda name: name != "send-bulk",
    "bulk": lambda name: name == "send-bulk",
    "all": lambda _: True,
}
_BULK_NICENESS = 5  # where cores are short, orders go first

SERVICES: dict[str, Callable[[Runtime], Service]] = {
    "access": access,
    "orders-notification": orders_notification,
    "tokens": tokens,
    "templates": templates,
    "delivery": delivery,
    "bounce": bounce,
    "history": history,
}


def migration_folders() -> dict[str, Path]:
    """Each service's schema and the folder of its migrations."""
    here = Path(__file__).parent
    return {(schema := name.replace("-", "_")): here / schema / "migrations" for name in SERVICES}


def runtime_of(settings: SuiteSettings, keyring: Keyring, services: Mapping[str, Service] | None = None) -> Runtime:
    """What every service of one process is given; `services` is filled after it is made."""
    known = services if services is not None else {}
    return Runtime(
        dsn=settings.dsn.get_secret_value(),
        keyring=keyring,
        transports=lambda name: AsgiTransport(lambda: known[name].app),
        data_dir=settings.data_dir,
        simulator=read_simulator(settings.data_dir) if settings.simulator else None,
        public_url=settings.url,
        settings_file=settings_file(settings.data_dir),
    )


def build(settings: SuiteSettings, keyring: Keyring) -> dict[str, Service]:
    """All services over one runtime; nothing is opened yet."""
    built: dict[str, Service] = {}
    runtime = runtime_of(settings, keyring, built)
    for name, create in SERVICES.items():
        built[name] = create(runtime)
    return built


@asynccontextmanager
async def running(services: Mapping[str, Service]) -> AsyncIterator[None]:
    """Every service open. Starlette runs no lifespan of mounted applications, so each is entered here."""
    async with AsyncExitStack() as stack:
        for service in services.values():
            await stack.enter_async_context(service.running())
        yield


def create_app(services: Mapping[str, Service], *, server: str) -> FastAPI:
    """One application with every service under its name; enter `running` around it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_problem_handlers(app)
    app.state.runtime = next(iter(services.values())).runtime
    app.include_router(_suite_routes(services, server))
    for name, service in services.items():
        app.mount(f"/{name}", service.app)
    return app


def _suite_routes(services: Mapping[str, Service], server: str) -> Router:
    router = Router(tags=["suite"])
    page = Path(__file__).parent.parent / "libs" / "openapi.html"

    @router.get("/health", dependencies=[public()])
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": version("depesche")}

    @router.get("/openapi.json", dependencies=[public()])
    async def openapi() -> Response:
        return Response(json.dumps(document(services, server)), media_type="application/json")

    @router.get("/docs", dependencies=[public()])
    async def docs() -> HTMLResponse:
        return HTMLResponse(page.read_text(encoding="utf-8"))

    @router.get("/metrics")
    async def metrics(_: Annotated[Principal, scope("metrics:read", internal=True)]) -> Response:
        # in a thread: it reads the files of every process
        return Response(await asyncio.to_thread(exposition), media_type=CONTENT_TYPE_LATEST)

    return router


def document(services: Mapping[str, Service], server: str) -> dict[str, object]:
    """The merged OpenAPI document."""
    apps = {name: service.app for name, service in services.items()}
    return merged(apps, version=version("depesche"), server=server)


async def work(services: Mapping[str, Service], stop: asyncio.Event, role: str = "all") -> None:
    """The role's loops of every service until `stop`; each then finishes what it has begun."""
    subscribers = [one for service in services.values() for one in service.subscribers()]
    async with asyncio.TaskGroup() as group:
        for service in services.values():
            group.create_task(service.run_loops(stop, subscribers, ROLES[role]))


async def _serve(role: str, settings: SuiteSettings) -> None:
    services = build(settings, keyring_of(settings.data_dir))
    async with running(services):
        if role in ("worker", "bulk"):
            await _work_until_stopped(services, role)
            return
        app = create_app(services, server=settings.url)
        server = uvicorn.Server(
            uvicorn.Config(app, host=settings.host, port=settings.port, log_config=None, access_log=False)
        )
        if role == "api":
            await server.serve()
            return
        stop = asyncio.Event()
        working = asyncio.create_task(work(services, stop))
        await server.serve()  # until SIGTERM or SIGINT
        stop.set()
        await working


async def _work_until_stopped(services: Mapping[str, Service], role: str) -> None:
    if role == "bulk":
        os.nice(_BULK_NICENESS)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("worker_started")
    await work(services, stop, role)
    log.info("worker_stopped")


def main() -> None:
    """Entry of every process of the suite."""
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role == "openapi":
        services = build(SuiteSettings(), Keyring(bytes(32)))
        json.dump(document(services, "http://127.0.0.1:8700"), sys.stdout, indent=1, sort_keys=True)
        sys.stdout.write("\n")
        return
    if role not in ("api", *ROLES):
        sys.exit(__doc__)
    settings = load_suite()
    configure_logs(service=role, level=settings.log_level)
    configure_tracing(service=f"depesche-{role}", otlp_endpoint=settings.otlp_endpoint or None)
    import uvloop

    calm_garbage_collection()
    uvloop.run(_serve(role, settings))


if __name__ == "__main__":
    main()
