"""Facts and suppressions for other systems: a feed with a cursor, and whole files as a stream."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.errors import Invalid
from libs.paging import BIGINTS, After, Limit, make_cursor, read_cursor
from libs.web import Router
from services.bounce.api import Reader, deps_of, period, shown_bounce, shown_suppression
from services.bounce.api.shapes import BOUNCE, BounceShown, SuppressionShown
from services.bounce.domain.suppressions import Suppression

router = Router(prefix="/v1", tags=["bounces"])

_LINES = 200  # per chunk: a single line would be a packet of its own
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet evaluates text that starts with one
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One line for each, oldest first.",
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"id": "5c7d…", "category": "…"}\n'},
            "text/csv": {"schema": {"type": "string"}, "example": "id,at,category\n5c7d…,2027-03-01T09:00:00Z,…\n"},
        },
    }
}

Since = Annotated[AwareDatetime, Query(description="Start, inclusive.", examples=["2027-03-01T00:00:00Z"])]
Until = Annotated[AwareDatetime | None, Query(description="End; default: now.")]
Format = Annotated[Literal["ndjson", "csv"], Query(alias="format", description="Format of the file.")]


class Feed(BaseModel):
    """Facts in the order in which they were stored. Continue with `next_cursor`, later if the page was empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [BOUNCE], "next_cursor": "WyI0MjE3IiwxOV0"}]})
    items: list[BounceShown]
    next_cursor: str | None = Field(description="Null only if there has never been a fact.")


@router.get("/bounces:feed", summary="A feed of facts")
async def feed(request: Request, principal: Reader, limit: Limit = 100, cursor: After = None) -> Feed:
    """Return every fact exactly once, for any number of readers; without a cursor, from the first one on.

    A fact's decision may change afterwards (parked, undone): `GET bounces` and the bus report that.
    """
    rows = await deps_of(request).reads.feed((principal.tenant, principal.mode), _place(cursor), limit)
    last = make_cursor(str(rows[-1]["fed_in"]), rows[-1]["fed_as"]) if rows else cursor
    return Feed(items=[shown_bounce(row) for row in rows], next_cursor=last)


@router.get("/bounces:export", summary="Facts as a file", responses=_FILE, response_class=StreamingResponse)
async def export_bounces(
    request: Request, principal: Reader, since: Since, until: Until = None, kind: Format = "ndjson"
) -> StreamingResponse:
    """Stream all facts of a time span."""
    rows = _rows(request, principal, "bounces", (since, until))
    return await _file("bounces", kind, BounceShown, (shown_bounce(row) async for row in rows))


@router.get("/suppressions:export", summary="Suppressions as a file", responses=_FILE, response_class=StreamingResponse)
async def export_suppressions(
    request: Request, principal: Reader, since: Since, until: Until = None, kind: Format = "ndjson"
) -> StreamingResponse:
    """Stream all suppressions that changed within a time span, in their current state."""
    rows = _rows(request, principal, "suppressions", (since, until))
    return await _file("suppressions", kind, SuppressionShown, (_suppression(item) async for item in rows))


def _suppression(item: Suppression) -> SuppressionShown:
    return SuppressionShown(**shown_suppression(item))


def _rows(request: Request, principal: Any, what: str, span: tuple[Any, Any]) -> AsyncIterator[Any]:
    deps = deps_of(request)
    covered = period(*span, deps.clock() + timedelta(seconds=1), at="")
    return deps.reads.export(what, (principal.tenant, principal.mode), covered)


async def _file(name: str, kind: str, shape: type[BaseModel], items: AsyncIterator[BaseModel]) -> StreamingResponse:
    """Read the first lines before responding, so that an error in them still sets the status."""
    lines = _csv(list(shape.model_fields), items) if kind == "csv" else _ndjson(items)
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    media = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
    pieces = _together(lines)
    first = await anext(pieces)
    return StreamingResponse(_chained(first, pieces), media_type=media, headers=headers)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _ndjson(items: AsyncIterator[BaseModel]) -> AsyncIterator[str]:
    async for item in items:
        yield item.model_dump_json() + "\n"


async def _csv(names: Sequence[str], items: AsyncIterator[BaseModel]) -> AsyncIterator[str]:
    yield _row(names)
    async for item in items:
        yield _row([_cell(value) for value in item.model_dump(mode="json").values()])


def _row(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # RFC 4180; so cells with CR or LF are quoted
    return line.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


async def _together(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    waiting: list[str] = []
    async for line in lines:
        waiting.append(line)
        if len(waiting) == _LINES:
            yield "".join(waiting).encode()
            waiting.clear()
    yield "".join(waiting).encode()


def _place(cursor: str | None) -> tuple[str, int] | None:
    """Parse the transaction, a text because JSON numbers lose digits, and the number within it."""
    place = read_cursor(cursor, str, int, below=BIGINTS)
    if place and not (place[0].isascii() and place[0].isdigit() and len(place[0]) < 19):
        raise Invalid("The cursor belongs to another list; leave it out to start over.", pointer="cursor")
    return place
