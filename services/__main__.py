"""The whole suite: topology on one page.

    python -m services api        the HTTP API of every service on one port
    python -m services worker     the loops of every service, and the relays of urgent events
    python -m services bulk       the bulk lane's sender and the relays of events that may wait
    python -m services all        all of them in one process, with the simulator if it is enabled
    python -m services relay      only the outbox relays, for services that run alone: it knows every subscriber
    python -m services run NAME   one service alone, for a container: --role api|worker|bulk|all --host --port
    python -m services openapi    print the merged OpenAPI document

Each service is built by its own app.py; this module only composes them. Within a process, services call one another
directly (`asgi:`); events travel through their outboxes.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from libs import alone
from libs.errors import DepescheError, Invalid
from libs.keyring import Keyring, keyring_of
from libs.openapi import merged
from libs.pages import pages_of
from libs.probes import figures
from libs.service import Runtime, Service, allow_descriptors, calm_garbage_collection
from libs.service_client import AsgiTransport
from libs.storage.roles import ServiceRole
from libs.suite import SuiteSettings, load_suite, runtime_from, settings_file
from libs.telemetry import configure_logs, configure_tracing, get_logger
from libs.web import add_routes, install_problem_handlers

log = get_logger("suite")

# which loops each role runs, by name
_BEHIND = ("send-bulk", "relay-later")  # bulk work must not delay an order's message on its event loop
ROLES: Mapping[str, Callable[[str], bool]] = {
    "worker": lambda name: name not in _BEHIND,
    "bulk": lambda name: name in _BEHIND,
    "relay": lambda name: name.startswith("relay"),
    "all": lambda _: True,
}
_BULK_NICENESS = 5  # when CPU is scarce, orders go first


def _factory(name: str) -> Callable[[Runtime], Service]:
    """Return a service's factory. It imports the service: a process that runs one alone needs no other's code."""

    def create(runtime: Runtime) -> Service:
        service: Service = import_module(f"services.{name.replace('-', '_')}.app").create_service(runtime)
        return service

    return create


SERVICES: dict[str, Callable[[Runtime], Service]] = {
    name: _factory(name)
    for name in ("access", "orders-notification", "tokens", "templates", "delivery", "bounce", "history")
}


def migration_folders() -> dict[str, Path]:
    """Return each service's schema with its migrations folder."""
    here = Path(__file__).parent
    return {(schema := name.replace("-", "_")): here / schema / "migrations" for name in SERVICES}


def service_roles() -> list[ServiceRole]:
    """Return each service's database role with the session settings it needs."""
    built = build(SuiteSettings(), Keyring(bytes(32))).values()
    return [
        ServiceRole(service.database.schema, service.database.session_settings) for service in built if service.database
    ]


def runtime_of(settings: SuiteSettings, keyring: Keyring, services: Mapping[str, Service] | None = None) -> Runtime:
    """Return the runtime shared by every service of a process; `services` may be filled later."""
    known = services if services is not None else {}
    return runtime_from(settings, keyring, lambda name: AsgiTransport(lambda: known[name].app))


def build(settings: SuiteSettings, keyring: Keyring) -> dict[str, Service]:
    """Build all services over one runtime, without opening anything."""
    built: dict[str, Service] = {}
    runtime = runtime_of(settings, keyring, built)
    for name, create in SERVICES.items():
        built[name] = create(runtime)
    return built


@asynccontextmanager
async def running(services: Mapping[str, Service]) -> AsyncIterator[None]:
    """Open every service. Starlette does not run the lifespan of mounted applications, so each is entered here."""
    async with AsyncExitStack() as stack:
        for service in services.values():
            await stack.enter_async_context(service.running())
        yield


def create_app(services: Mapping[str, Service], *, server: str) -> FastAPI:
    """Mount every service under its name in one application; enter `running` around it."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_problem_handlers(app)
    app.state.runtime = next(iter(services.values())).runtime
    add_routes(app, pages_of(lambda: document(services, server)), figures)
    for name, service in services.items():
        app.mount(f"/{name}", service.app)
    return app


def document(services: Mapping[str, Service], server: str) -> dict[str, object]:
    """Return the merged OpenAPI document."""
    apps = {name: service.app for name, service in services.items()}
    return merged(apps, version=version("depesche"), server=server)


async def work(services: Mapping[str, Service], stop: asyncio.Event, role: str = "all") -> None:
    """Run the role's loops of every service until `stop`; each loop then finishes the work it has started."""
    subscribers = [one for service in services.values() for one in service.subscribers()]
    async with asyncio.TaskGroup() as group:
        for service in services.values():
            group.create_task(service.run_loops(stop, subscribers, ROLES[role]))


async def _serve(role: str, settings: SuiteSettings) -> None:
    async with AsyncExitStack() as stack:
        if role == "all" and settings.simulator:
            # the simulator comes first: services read its ports when they are built. Imported here: workers don't need
            # it.
            from services.simulator.app import running as simulating
            from services.simulator.settings import load_simulator

            simulated = load_simulator(settings_file(settings.data_dir))
            await stack.enter_async_context(simulating(settings.data_dir, simulated))
        services = build(settings, keyring_of(settings.data_dir))
        await stack.enter_async_context(running(services))
        if role in ("worker", "bulk", "relay"):
            await _work_until_stopped(services, role)
            return
        app = create_app(services, server=settings.url)
        stop = asyncio.Event()
        working = asyncio.create_task(work(services, stop)) if role == "all" else None
        await alone.serve_http(app, settings.host, settings.port, drain_seconds=settings.drain_seconds)
        stop.set()
        if working is not None:
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
    """Run the process that the command line names."""
    role = sys.argv[1] if len(sys.argv) > 1 else ""
    if role == "openapi":
        services = build(SuiteSettings(), Keyring(bytes(32)))
        json.dump(document(services, "http://127.0.0.1:8700"), sys.stdout, indent=1, sort_keys=True)
        sys.stdout.write("\n")
        return
    if role != "run" and (role not in ("api", *ROLES) or len(sys.argv) > 2):
        sys.exit(__doc__)
    try:
        if role == "run":
            _run_alone(sys.argv[2:])
        else:
            settings = load_suite()
            if role == "relay" and settings.bus == "dapr":
                raise Invalid(
                    "With Dapr, each service publishes through its own sidecar; do not run this process.",
                    pointer="DEPESCHE_BUS",
                )
            _run(role, settings, partial(_serve, role))
    except DepescheError as error:
        sys.exit("\n".join([f"{error.title}: {error.detail}", *(f"{e.pointer}: {e.detail}" for e in error.errors)]))


def _run_alone(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m services run", description="Run one service alone, for a container."
    )
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument(
        "--role", choices=("api", "worker", "bulk", "all"), default="all", help="which part to run (default: all)"
    )
    parser.add_argument("--host", help="address to listen on (default: DEPESCHE_HOST)")
    parser.add_argument("--port", type=int, help="TCP port (default: DEPESCHE_PORT)")
    options = parser.parse_args(arguments)
    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    settings = load_suite().model_copy(update=given)
    service = alone.build(options.service, SERVICES[options.service], settings)
    _run(f"{options.service}-{options.role}", settings, lambda s: alone.serve(service, s, options.role, ROLES))


def _run(name: str, settings: SuiteSettings, serve: Callable[[SuiteSettings], Coroutine[Any, Any, None]]) -> None:
    configure_logs(service=name, level=settings.log_level)
    configure_tracing(
        service=f"depesche-{name}", otlp_endpoint=settings.otlp_endpoint or None, ratio=settings.trace_ratio
    )
    import uvloop

    allow_descriptors()
    calm_garbage_collection()
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
