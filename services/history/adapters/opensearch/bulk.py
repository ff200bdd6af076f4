"""Bulk writes to OpenSearch, each limited by number and by size; backpressure is answered with retries.

An item's status: 409: it already exists; 429: busy, retry this item; 400: the document is at fault, and the bulk's
other documents are stored; anything else is a fault of the cluster.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import TransportError

from libs.errors import Invalid, Unavailable

_MOST_DOCUMENTS = 1_000
_MOST_BYTES = 4 << 20  # a node accepts 100 MB, but holds requests in its heap while it works on them
_TRIES = 5
_FIRST_WAIT_SECONDS = 0.1  # doubled at each refusal, plus up to as much again at random: 1.5 to 3 s in all
_THERE, _WRONG, _BUSY = 409, 400, 429

Action = tuple[dict[str, Any], dict[str, Any]]
_encode = msgspec.json.Encoder(decimal_format="number").encode


async def send(client: AsyncOpenSearch, actions: Sequence[Action], *, seconds: int | None = None) -> None:
    """Write all of them; `seconds` limits each bulk. Raises Unavailable where some must be retried, else Invalid where
    some are refused."""
    # the wait for missing shards must be a little shorter than the wait for the response
    params = {"timeout": f"{seconds}s", "request_timeout": seconds + 1} if seconds else {}
    refused: list[str] = []
    for left in _cut(actions):
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * (1 + random.random()))
            left = await _once(client, left, params, refused)
            if not left:
                break
        else:
            raise Unavailable(f"OpenSearch is busy; {len(left)} documents must be retried.")
    if refused:
        count = len(refused)
        raise Invalid(f"OpenSearch refused {count} document{'s' if count > 1 else ''}: {refused[0]}.")


def _cut(actions: Sequence[Action]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for head, source in actions:
        raw = _encode(head) + b"\n" + _encode(source) + b"\n"
        if part and (len(part) == _MOST_DOCUMENTS or size + len(raw) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield part


async def _once(client: AsyncOpenSearch, lines: list[bytes], params: dict[str, Any], refused: list[str]) -> list[bytes]:
    """Return the documents to retry; append why others were refused to `refused`."""
    try:
        answer = await client.bulk(body=b"".join(lines), params=params)
    except TransportError as error:
        if error.status_code == _BUSY:
            return lines
        raise
    if not answer["errors"]:
        return []
    again = []
    for line, item in zip(lines, answer["items"], strict=True):
        (result,) = item.values()
        if result["status"] == _BUSY:
            again.append(line)
        elif result["status"] == _WRONG:
            refused.append(f"{result['error'].get('type')}: {result['error'].get('reason', '')}"[:300])
        elif result["status"] > _WRONG and result["status"] != _THERE:
            raise Unavailable(f"OpenSearch does not accept documents now ({result['status']}).")
    return again
