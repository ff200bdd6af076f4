"""The pages that describe the whole suite on one port: `/health`, `/openapi.json`, and `/docs`, which reads it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from fastapi import Response
from fastapi.responses import HTMLResponse

from libs.auth import public
from libs.web import Router

_PAGE = Path(__file__).with_name("openapi.html")


def pages_of(document: Callable[[], Mapping[str, object]]) -> Router:
    """Return the routes. `document` builds the OpenAPI document: once, at the first request, off the event loop."""
    router = Router(tags=["suite"])
    text = cache(lambda: json.dumps(document()))

    @router.get("/health", dependencies=[public()])
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": version("depesche")}

    @router.get("/openapi.json", dependencies=[public()])
    async def openapi() -> Response:
        return Response(await asyncio.to_thread(text), media_type="application/json")

    @router.get("/docs", dependencies=[public()])
    async def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"))

    return router
