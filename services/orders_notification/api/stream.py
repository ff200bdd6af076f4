"""NDJSON: up to 100,000 events in one request, with a verdict per line.

Lines are committed in chunks while the body arrives: one chunk commits while the next is read. The response begins
after the last line: most clients read nothing before they have sent everything, and an earlier response would fill the
connection until both sides wait for each other. If a chunk could not be committed, its lines get `unavailable`; when
they are sent again, those already accepted are duplicates.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from libs import exact_json
from libs.errors import Permanent, TooLarge, Transient
from services.orders_notification.api.bodies import read_lines
from services.orders_notification.api.verdicts import refusal, shown
from services.orders_notification.domain.cloudevents import from_structured
from services.orders_notification.domain.intake import Origin, Submission
from services.orders_notification.handlers.intake import accept
from services.orders_notification.ports.deps import OrdersNotification

_encoder = msgspec.json.Encoder(decimal_format="number")
_ATTEMPTS = 3


async def stream_in(deps: OrdersNotification, origin: Origin, request: Request) -> Response:
    """Read the whole stream, then answer line by line."""
    stream = _Stream(deps, origin)
    async for line in read_lines(request, deps.limits.event_bytes):
        await stream.take(line)
    await stream.finish()
    return StreamingResponse(stream.answer(), 202, media_type="application/x-ndjson")


@dataclass(slots=True)
class _Chunk:
    """Lines that are committed together: valid events, and verdicts of all lines by number."""

    submissions: list[Submission] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    verdicts: dict[int, dict[str, Any]] = field(default_factory=dict)


class _Stream:
    """One request's lines on their way through intake."""

    def __init__(self, deps: OrdersNotification, origin: Origin) -> None:
        self._deps = deps
        self._origin = origin
        self._chunk = _Chunk()
        self._lines = 0
        self._bytes = 0
        self._over = False
        self._committing: asyncio.Task[None] | None = None
        self._answers: list[bytes] = []

    async def take(self, line: bytes | None) -> None:
        """Take the next line; None is one that was too long."""
        self._lines += 1
        if self._over or (line is not None and not line.strip()):
            return
        if self._lines > self._deps.limits.stream_lines:
            self._over = True
            limit = self._deps.limits.stream_lines
            self._refuse(TooLarge(f"A stream may have at most {limit:,} lines; send the rest in another request."))
            return
        try:
            self._read(line)
        except Permanent as error:
            self._refuse(error)
        if len(self._chunk.verdicts) + len(self._chunk.submissions) >= self._deps.limits.stream_chunk:
            await self._commit()

    def _read(self, line: bytes | None) -> None:
        if line is None:
            limit = self._deps.limits.event_bytes
            raise TooLarge(f"The line is longer than the {limit:,} bytes that an event may have.")
        event = from_structured(exact_json.loads(line), self._deps.clock())
        self._chunk.submissions.append(Submission(self._origin, event))
        self._chunk.numbers.append(self._lines)

    def _refuse(self, error: Permanent) -> None:
        self._chunk.verdicts[self._lines] = refusal(error)

    async def _commit(self) -> None:
        await self._committed()
        chunk, self._chunk = self._chunk, _Chunk()
        self._committing = asyncio.create_task(self._write(chunk))

    async def _committed(self) -> None:
        if self._committing is not None:
            await self._committing
            self._committing = None

    async def _write(self, chunk: _Chunk) -> None:
        if chunk.submissions:
            told = await self._accepted(chunk.submissions)
            chunk.verdicts.update(zip(chunk.numbers, told, strict=True))
        self._answers.extend(
            _encoder.encode({"line": number, **chunk.verdicts[number]}) + b"\n" for number in sorted(chunk.verdicts)
        )

    async def _accepted(self, submissions: list[Submission]) -> list[dict[str, Any]]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                verdicts = await accept(self._deps, submissions)
            except Transient as error:
                if attempt == _ATTEMPTS:
                    return [
                        {"status": "unavailable", "event_id": s.event.id, "detail": error.detail} for s in submissions
                    ]
                await asyncio.sleep(error.retry_after)
            else:
                return [shown(s.event.id, v) for s, v in zip(submissions, verdicts, strict=True)]
        return []

    async def finish(self) -> None:
        """Commit the remaining lines."""
        await self._commit()
        await self._committed()

    def answer(self) -> Iterator[bytes]:
        """Yield the verdicts in the order of their lines, a few hundred at a time."""
        step = self._deps.limits.stream_chunk
        for start in range(0, len(self._answers), step):
            yield b"".join(self._answers[start : start + step])
