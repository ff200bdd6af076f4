"""Many bounce mails in one request: a zip file or an mbox, processed as it arrives, with a verdict on each mail."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from libs import exact_json
from libs.errors import BadRequest, Invalid, UnsupportedMedia
from libs.web import Router
from services.bounce.api import Writer, deps_of
from services.bounce.domain.archives import READERS, Bounds
from services.bounce.handlers.imports import DUPLICATE, KEPT, REFUSED, Verdict, import_mails

router = Router(prefix="/v1", tags=["bounces"])

_PIECE_BYTES = 256 * 1024
_LINES_BYTES = 64 * 1024
_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "application/zip": {"schema": _BINARY, "example": "PK…"},
    "application/mbox": {"schema": _BINARY, "example": "From MAILER-DAEMON Mon Mar  1 09:00:00 2027\nSubject: …\n"},
}
_EXAMPLE = (
    '{"name":"cur/1.eml","result":"kept","id":"0193c8a4-2f11-7d52-9b0e-0d6a3c6f1b2a"}\n'
    '{"name":"cur/2.eml","result":"refused","reason":"It is empty."}\n'
    '{"mails":2,"kept":1,"duplicate":0,"refused":1,"problem":null}\n'
)
_REPORT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A line for each mail, in the order of the archive, and a last line with the totals.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


@router.post(
    "/mails:import",
    summary="Submit many mails",
    responses=_REPORT,
    response_class=StreamingResponse,
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def import_archive(request: Request, principal: Writer) -> StreamingResponse:
    """Accept a zip file or an mbox of bounce mails while it arrives, 100,000 of them or more.

    Each mail is `kept` (it is read within seconds, see `GET mails/{id}`), a `duplicate` of a stored one, or `refused`
    with a reason; none stops the others. It counts for the day on which it arrived, by its Received lines. If a request
    broke off, send it again: stored mails are then duplicates. `problem` in the last line says why an archive was not
    read to its end; a 422 says that nothing in it could be read.
    """
    make = READERS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if make is None:
        raise UnsupportedMedia(f"Send content-type {' or '.join(_BODY)}; a single mail goes to POST mails.")
    deps = deps_of(request)
    settings = deps.settings
    lines, counts = bytearray(), Counter[str]()

    def tell(verdicts: Sequence[Verdict]) -> None:
        counts.update(verdict.result for verdict in verdicts)
        lines.extend(b"".join(_line(verdict) for verdict in verdicts))

    try:
        owner = (principal.tenant, principal.mode)
        problem = await import_mails(
            deps,
            owner,
            make(Bounds(settings.max_mail_bytes, settings.max_import_bytes, settings.max_import_mails)),
            _pieces(request),
            tell,
        )
    except ClientDisconnect as error:
        raise BadRequest("The request broke off; what had arrived was stored. Send it again.") from error
    if problem and not counts:
        raise Invalid(problem, pointer="")
    sums = {"mails": counts.total(), **{word: counts[word] for word in (KEPT, DUPLICATE, REFUSED)}, "problem": problem}
    lines += exact_json.dumps(sums) + b"\n"
    return StreamingResponse(_sliced(lines), media_type="application/x-ndjson")


def _line(verdict: Verdict) -> bytes:
    told = {"name": verdict.name, "result": verdict.result, "id": verdict.id, "reason": verdict.reason}
    return exact_json.dumps({name: value for name, value in told.items() if value is not None}) + b"\n"


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in larger pieces than the network's: each costs a thread call."""
    waiting = bytearray()
    async for piece in request.stream():
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def _sliced(lines: bytearray) -> AsyncIterator[bytes]:
    for at in range(0, len(lines), _LINES_BYTES):
        yield bytes(lines[at : at + _LINES_BYTES])
