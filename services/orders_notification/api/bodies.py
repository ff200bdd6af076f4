"""Reads bodies within their limits, and recognises the CloudEvents content mode of a request."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from enum import Enum, auto

from fastapi import Request
from starlette.requests import ClientDisconnect

from libs.errors import BadRequest, TooLarge, UnsupportedMedia
from services.orders_notification.domain.cloudevents import is_json
from services.orders_notification.domain.reading import LINES


class ContentMode(Enum):
    """How a request carries events (HTTP binding §3, and NDJSON)."""

    STRUCTURED = auto()
    BATCH = auto()
    BINARY = auto()
    STREAM = auto()
    JSON = auto()  # one event or an array


def content_mode(request: Request) -> ContentMode:
    """Return the mode. Raises UnsupportedMedia naming the supported ones."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/cloudevents+json":
        return ContentMode.STRUCTURED
    if media == "application/cloudevents-batch+json":
        return ContentMode.BATCH
    if media in LINES:
        return ContentMode.STREAM
    if not media.startswith("application/cloudevents") and any(n.startswith("ce-") for n in request.headers):
        return ContentMode.BINARY
    if is_json(media) and not media.startswith("application/cloudevents"):
        return ContentMode.JSON
    raise UnsupportedMedia(
        f"The content type {media[:80]!r} is not supported. Send application/cloudevents+json, "
        "application/cloudevents-batch+json, application/json, application/x-ndjson, or ce- headers with any data."
    )


def headers_of(request: Request) -> dict[str, str]:
    """Return headers by lower-case name; a repeated header is joined, as RFC 9110 §5.3 says."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body. Raises TooLarge as soon as it grows past `limit` bytes, keeping nothing."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    taken: list[bytes] = []
    size = 0
    async with contextlib.aclosing(_chunks(request)) as stream:
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            taken.append(chunk)
    return b"".join(taken)


async def read_lines(request: Request, limit: int) -> AsyncIterator[bytes | None]:
    """Yield the body line by line (LF or CRLF). A line longer than `limit` bytes is yielded as None, and not kept."""
    rest = b""
    overlong = False
    async with contextlib.aclosing(_chunks(request)) as stream:
        async for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield None if overlong or len(line) > limit else line
                overlong = False
            if len(rest) > limit:
                overlong, rest = True, b""
    if rest or overlong:
        yield None if overlong or len(rest) > limit else rest


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise BadRequest("The connection closed before the end of the body; send it again.") from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit:,} bytes. Send fewer events at once, or stream them as application/x-ndjson.",
        limit=limit,
    )
