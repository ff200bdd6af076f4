"""The routes that an orchestrator polls: is the process alive, is it ready, what are its metrics.

    GET /health/live    the event loop responds and the process's loops run; nothing else is checked, because a
                        restart would not fix a database
    GET /health/ready   the service's database responds within two seconds, and so does the sidecar if there is one;
                        503 if either does not. Other stores are only reported (`"opensearch": "away"`): the service
                        can work without them for a while
    GET /health         the same as /health/ready
    GET /metrics        Prometheus' text format, for a key with metrics:read or another service of the suite

Each service's own application serves them, also when it runs alone (`python -m services run`). Metrics have the same
guard everywhere: a port that a pod's neighbours can reach is no place for business figures.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import asyncpg
from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from libs.auth import Principal, public, scope
from libs.errors import Unavailable
from libs.messaging.dapr import ask_sidecar
from libs.telemetry.metrics import exposition
from libs.web import Router

_READY_SECONDS = 2.0
_STORE_SECONDS = 0.5

health = Router(tags=["health"])
figures = Router(tags=["suite"])


@health.get("/health/live", dependencies=[public()], include_in_schema=False)
async def live(request: Request) -> dict[str, str]:
    """The process responds and works. Raises Unavailable if a loop has ended while the process keeps serving."""
    if ended := request.app.state.service.ended():
        raise Unavailable(f"Only a restart brings these loops back: {', '.join(ended)}")
    return {"status": "ok"}


@health.get("/health", dependencies=[public()], include_in_schema=False)
@health.get("/health/ready", dependencies=[public()], include_in_schema=False)
async def ready(request: Request) -> dict[str, str]:
    """The database and the sidecar respond. Raises Unavailable."""
    service: Any = request.app.state.service
    if service.database is not None:
        try:
            async with asyncio.timeout(_READY_SECONDS), service.database.acquire() as connection:
                await connection.fetchval("select 1")
        except (TimeoutError, asyncpg.PostgresError) as error:
            raise Unavailable(f"Postgres does not answer: {type(error).__name__}") from error
    if service.runtime.sidecar is not None:
        await ask_sidecar(service.runtime.sidecar, _READY_SECONDS)
    return {"status": "ok", "service": service.name} | await _stores(service)


async def _stores(service: Any) -> dict[str, str]:
    return {name: await _state(check) for name, check in service.checks.items()}


async def _state(check: Callable[[], Awaitable[str | None]]) -> str:
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            return "differs" if await check() else "ok"
    except (TimeoutError, Unavailable):
        return "away"


@figures.get("/metrics")
async def metrics(_: Annotated[Principal, scope("metrics:read", internal=True)]) -> Response:
    # in a thread: it reads the files of every process
    return Response(await asyncio.to_thread(exposition), media_type=CONTENT_TYPE_LATEST)
