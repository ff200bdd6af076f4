"""The ends of the bus as separate processes, so that the CPU time of each can be measured.

    python -m bench.bus_ends both|relay|store|bare-publish|bare-subscribe   (a JSON `Ends` on standard input)

`relay` publishes orders-notification's outbox, `store` takes requests into delivery's ledger and sends nothing;
`both` is the embedded bus. The bare ones stand for an application that stores nothing: it publishes prepared batches
one after another, and answers SUCCESS to whatever is delivered. Each prints "ready", and begins at the next line of
its input.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn
import uvloop

from libs import alone
from libs.contracts.delivery import NotificationRequested
from libs.keyring import Keyring
from libs.messaging.dapr import Sidecar
from libs.messaging.postgres import Relay
from libs.service import Runtime, Service, calm_garbage_collection
from libs.service_client import Transport
from libs.storage.database import Database
from services.delivery.app import create_service as delivery
from services.orders_notification.app import create_service as orders_notification

KEYRING = Keyring(b"bench" * 8)


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process finds what it needs."""

    dsn: str
    port: int = 0  # of the application, if a sidecar calls it
    sidecar: str = ""  # its URL; empty: none
    tokens: tuple[str, str] = ("", "")
    messages: int = 0  # number of messages for the bare publisher …
    file: str = ""  # … which it repeats: a batch's entries, one per line
    topic: str = ""  # … and their topic


def _runtime(ends: Ends, folder: str) -> Runtime:
    sidecar = Sidecar(ends.sidecar, *ends.tokens) if ends.sidecar else None
    return Runtime(dsn=ends.dsn, keyring=KEYRING, transports=_nobody, data_dir=Path(folder), sidecar=sidecar)


def _nobody(name: str) -> Transport:
    raise LookupError(f"{name} is not asked here")


async def _ready() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _until_the_end(stop: asyncio.Event) -> None:
    await asyncio.to_thread(sys.stdin.read)  # closed: the measurement is over
    stop.set()


async def both(ends: Ends) -> None:
    """The embedded bus: the relay delivers the outbox to delivery's handler."""
    with tempfile.TemporaryDirectory() as folder:
        service = delivery(_runtime(ends, folder))
        database = Database(ends.dsn, "orders_notification")
        async with service.running():
            await database.open()
            await _ready()
            await _run(Relay(database, _storing(service)))
            await database.close()


async def relay(ends: Ends) -> None:
    """Run orders-notification's relay beside its sidecar."""
    with tempfile.TemporaryDirectory() as folder:
        service = orders_notification(_runtime(ends, folder))
        async with service.running():
            await _ready()
            stop = asyncio.Event()
            working = asyncio.create_task(service.run_loops(stop, (), lambda name: name == "relay"))
            await _until_the_end(stop)
            await working


async def store(ends: Ends) -> None:
    """Serve delivery's routes beside its sidecar."""
    with tempfile.TemporaryDirectory() as folder:
        service = delivery(_runtime(ends, folder))
        async with service.running():
            await _served(alone.create_app(service, api=False, events=True), ends.port)


async def bare_publish(ends: Ends) -> None:
    """Send bulk publishes of the relay's size, each after the previous response."""
    entries = (await asyncio.to_thread(Path(ends.file).read_bytes)).splitlines()
    url = f"{ends.sidecar}/v1.0/publish/bulk/bus/{ends.topic}"
    headers = {"content-type": "application/json", "dapr-api-token": ends.tokens[0]}
    await _ready()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for start in range(0, ends.messages, len(entries)):
            batch = entries[: ends.messages - start]
            answer = await client.post(url, headers=headers, content=b"[" + b",".join(batch) + b"]")
            assert answer.status_code in (200, 204), answer.text
    await _until_the_end(asyncio.Event())


class _Id(msgspec.Struct):
    entryId: str


class _Batch(msgspec.Struct):
    entries: list[_Id]


async def bare_subscribe(ends: Ends) -> None:
    """Read the ids of each batch and answer; print the number taken so far."""
    read, taken = msgspec.json.Decoder(_Batch), 0
    bulk = {"enabled": True, "maxMessagesCount": 100, "maxAwaitDurationMs": 20}
    wanted = {"pubsubname": "bus", "topic": ends.topic, "routes": {"default": "/b"}, "bulkSubscribe": bulk}
    subscriptions = msgspec.json.encode([wanted | {"metadata": {"rawPayload": "true"}}])  # like ours

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        answer = subscriptions
        if scope["path"] == "/b":
            entries = read.decode(body).entries
            answer = msgspec.json.encode({"statuses": [{"entryId": e.entryId, "status": "SUCCESS"} for e in entries]})
            taken += len(entries)
            print(taken, flush=True)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        known = scope["path"] in ("/b", "/dapr/subscribe")
        await send({"type": "http.response.start", "status": 200 if known else 404, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    await _served(app, ends.port)


async def _served(app: Any, port: int) -> None:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for this
        await asyncio.sleep(0.01)
    await _ready()
    await _until_the_end(asyncio.Event())
    server.should_exit = True
    await serving


async def _run(relay_: Relay) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(relay_.run(stop))
    await _until_the_end(stop)
    await working


def _storing(service: Service) -> list[Any]:
    return [one for one in service.subscribers() if one.event_type == NotificationRequested.TYPE]


ROLES = {
    "both": both, "relay": relay, "store": store, "bare-publish": bare_publish, "bare-subscribe": bare_subscribe,
}  # fmt: skip

if __name__ == "__main__":
    calm_garbage_collection()
    given = msgspec.json.decode(sys.stdin.readline(), type=Ends)
    uvloop.run(ROLES[sys.argv[1]](given))
