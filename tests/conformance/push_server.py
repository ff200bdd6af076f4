"""An FCM test double on a real socket, over TLS and HTTP/2; the token selects the outcome."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


def fault(status: int, word: str, code: str | None, **headers: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    details = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    return (
        status,
        headers,
        {"error": {"code": status, "message": f"it said {word}", "status": word, "details": details}},
    )


BAD_TOKEN = (
    400,
    {},
    {
        "error": {
            "code": 400,
            "message": "The registration token is not a valid FCM registration token",
            "status": "INVALID_ARGUMENT",
            "details": [
                {"@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "message.token", "description": "Invalid registration token"}],
                },
            ],
        }
    },
)

FAULTS = {
    "unregistered": fault(404, "NOT_FOUND", "UNREGISTERED"),
    "wrong-project": fault(404, "NOT_FOUND", None),
    "mismatch": fault(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    "forbidden": fault(403, "PERMISSION_DENIED", None),
    "apns-key": fault(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
    "bad-token": BAD_TOKEN,
    "bad-payload": fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    "quota": fault(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", **{"retry-after": "7"}),
    "quota-date": fault(
        429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", **{"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}
    ),
    "quota-bare": fault(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    "unavailable": fault(503, "UNAVAILABLE", "UNAVAILABLE", **{"retry-after": "3"}),
    "internal": fault(500, "INTERNAL", "INTERNAL"),
    "gateway": (502, {}, {"oops": "<html>"}),
}


@dataclass
class PushServer:
    """`valid` is the bearer token it accepts. `accepted` lists every push it took."""

    context: ssl.SSLContext
    valid: str = "right"
    accepted: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    paths: set[str] = field(default_factory=set)
    protocols: set[str] = field(default_factory=set)
    connections: int = 0
    most_in_flight: int = 0
    delay_seconds: float = 0.0
    in_flight: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "PushServer":
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Connection(asyncio.Protocol):
    def __init__(self, server: PushServer) -> None:
        self.server = server
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        protocol = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self.server.protocols.add(protocol or "none")
        self.server.connections += 1
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.headers[event.stream_id] = dict(event.headers)
                self.bodies[event.stream_id] = b""
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.server.later(self.answer(event.stream_id))
        self.transport.write(self.h2.data_to_send())

    async def answer(self, stream: int) -> None:
        server = self.server
        server.calls += 1
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            await asyncio.sleep(server.delay_seconds)
            await self.reply(stream, self.headers.pop(stream), json.loads(self.bodies.pop(stream)))
        finally:
            server.in_flight -= 1

    async def reply(self, stream: int, headers: dict[str, str], body: dict[str, Any]) -> None:
        server = self.server
        server.paths.add(headers[":path"])
        message = body["message"]
        name = (message.get("token") or message["fid"]).partition("#")[0]
        if headers.get("authorization") != f"Bearer {server.valid}":
            return self.respond(stream, *fault(401, "UNAUTHENTICATED", None))
        if name in FAULTS:
            return self.respond(stream, *FAULTS[name])
        if name == "refused":
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            return self.transport.write(self.h2.data_to_send())
        if name == "page":
            return self.respond(stream, 200, {"content-type": "text/html"}, b"<html>Log in to the network</html>")
        server.accepted.append(message)
        if name == "accepted-then-reset":
            self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            return self.transport.write(self.h2.data_to_send())
        if name == "accepted-then-gone":
            return self.transport.abort()
        if name == "accepted-then-silent":
            await asyncio.sleep(30)
        return self.respond(stream, 200, {}, {"name": f"projects/shop/messages/{len(server.accepted)}"})

    def respond(self, stream: int, status: int, headers: dict[str, str], body: dict[str, Any] | bytes) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = [(":status", str(status)), *({"content-type": "application/json"} | headers).items()]
        self.h2.send_headers(stream, fields)
        self.h2.send_data(stream, data, end_stream=True)
        self.transport.write(self.h2.data_to_send())
