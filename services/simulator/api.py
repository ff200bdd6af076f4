"""The control API, below /control: counters, repeats, what arrived, fault scripts, targets, reset.

Responses are JSON, problems RFC 9457. It listens on loopback with the rest of the simulator and needs no keys: whoever
reaches it can already reach the providers that it simulates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from libs.errors import BadRequest, DepescheError, FieldError, Invalid, NotFound
from services.simulator import queries
from services.simulator.domain.arrivals import Arrival, Wanted, body_of, shown, text_of
from services.simulator.domain.exchange import ALIASES, CHANNELS, SCRIPTED, Exchange
from services.simulator.domain.faults import Fault, Script
from services.simulator.handlers import owe_receipt
from services.simulator.ports import HttpProtocol, Scope

_LIMIT, _MOST = 50, 1000
_JSON = [("content-type", "application/json; charset=utf-8")]
_PROBLEM = [("content-type", "application/problem+json; charset=utf-8")]

_HTML = [("content-type", "text/html; charset=utf-8")]
_PAGE = Path(__file__).parent / "page.html"

Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Query = dict[str, str]
Order = TypeVar("Order", bound=msgspec.Struct)


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """`{"channel": "email", "fault": "451", "seconds": 2}`: until then, or for `count` calls, or a `share` of them."""

    channel: str
    fault: str
    seconds: Positive | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0


class TargetOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Where to send receipts and bounce mails; missing fields stay as they are."""

    callback_url: str | None = None
    bounce_host: str | None = None
    bounce_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None


class ReceiptOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Send a receipt about a message."""

    message: str
    kind: str = "delivered"
    attempt: int = 1
    channel: str = "push"
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0


@dataclass
class Control:
    """The control API of one exchange. `endpoints` is set once all sockets listen; its `fcm_ca` is the PEM itself."""

    exchange: Exchange
    endpoints: Mapping[str, Any] | None = None

    async def answer(self, scope: Scope, protocol: HttpProtocol, body: bytes) -> None:
        query = dict(parse_qsl(scope.query_string))
        path = scope.path.removeprefix("/control").removeprefix("/v1").strip("/")
        try:
            if scope.method == "GET" and not path:
                protocol.response_str(200, _HTML, _PAGE.read_text(encoding="utf-8"))
                return
            if scope.method == "GET" and path == "endpoints" and self.endpoints is not None:
                protocol.response_bytes(200, _JSON, msgspec.json.encode(self.endpoints))
                return
            if scope.method == "GET" and path.startswith("messages/"):
                _one(self.exchange, path, protocol)
                return
            route = ROUTES.get((scope.method, path))
            if route is None:
                raise NotFound(f"There is no {scope.method} /control/{path} here; see services/simulator/README.md.")
            document = route(self.exchange, query, body)
        except DepescheError as error:
            protocol.response_bytes(error.status, _PROBLEM, msgspec.json.encode(error.problem()))
            return
        protocol.response_bytes(200, _JSON, msgspec.json.encode(document))


def channel_of(name: str, known: Sequence[str] = CHANNELS) -> str:
    """Return a channel by its own name or its protocol's; raises Invalid."""
    channel = ALIASES.get(name, name)
    if channel not in known:
        raise Invalid(f"{name!r} is not a channel; use one of {', '.join(known)}.", pointer="/channel")
    return channel


def place_fault(exchange: Exchange, query: Query, body: bytes) -> Any:
    order = _read(body, FaultOrder)
    channels = CHANNELS if order.channel == "all" else (channel_of(order.channel, SCRIPTED),)
    try:
        fault = Fault(order.fault)
    except ValueError as error:
        words = ", ".join(fault.value for fault in Fault)
        raise Invalid(f"{order.fault!r} is not a fault; use one of {words}.", pointer="/fault") from error
    until = exchange.clock() + order.seconds if order.seconds is not None else None
    for channel in channels:
        exchange.faults.add(Script(channel, fault, until, order.count, order.share))
    return {"items": queries.scripts(exchange)}


def lift_faults(exchange: Exchange, query: Query, body: bytes) -> Any:
    exchange.faults.scripts.clear()
    return {"items": []}


def set_targets(exchange: Exchange, query: Query, body: bytes) -> Any:
    order, targets = _read(body, TargetOrder), exchange.targets
    if order.callback_url is not None:
        targets.callback_url = order.callback_url
    if order.bounce_host is not None:
        targets.bounce_host = order.bounce_host
    if order.bounce_port is not None:
        targets.bounce_port = order.bounce_port
    return {
        "callback_url": targets.callback_url,
        "bounce_host": targets.bounce_host,
        "bounce_port": targets.bounce_port,
    }


def send_receipt(exchange: Exchange, query: Query, body: bytes) -> Any:
    order = _read(body, ReceiptOrder)
    arrival = Arrival(channel_of(order.channel), "", order.message, order.attempt, b"")
    owe_receipt(exchange, arrival, order.kind, order.seconds)
    return {"owed": len(exchange.agenda)}


def reset(exchange: Exchange, query: Query, body: bytes) -> Any:
    exchange.reset()
    return queries.counters(exchange)


def list_messages(exchange: Exchange, query: Query, body: bytes) -> Any:
    known = set(Wanted.__dataclass_fields__)
    if unknown := set(query) - known - {"limit", "cursor"}:
        raise Invalid(f"{min(unknown)} is not a filter; use {', '.join(sorted(known))}, limit or cursor.")
    wanted = {name: value for name, value in query.items() if name in known}
    if "channel" in wanted:
        wanted["channel"] = channel_of(wanted["channel"])
    limit = min(_number(query, "limit") or _LIMIT, _MOST)
    return queries.arrived(exchange, Wanted(**wanted), _number(query, "cursor"), limit)


def list_repeats(exchange: Exchange, query: Query, body: bytes) -> Any:
    return {"items": queries.repeats(exchange, channel_of(query["channel"]) if "channel" in query else None)}


def _one(exchange: Exchange, path: str, protocol: HttpProtocol) -> None:
    """Serve `messages/{number}`, and its /raw, /text, /html."""
    number, _, form = path.removeprefix("messages/").partition("/")
    arrival = exchange.arrivals.get(int(number)) if number.isascii() and number.isdigit() else None
    if arrival is None or form not in ("", "raw", "text", "html"):
        raise NotFound(f"Message {number} is not stored; the newest are listed at /control/messages.")
    match form:
        case "raw":
            kind = "message/rfc822" if arrival.channel == "email" else "application/json"
            protocol.response_bytes(200, [("content-type", kind)], arrival.raw)
        case "text":
            protocol.response_str(200, [("content-type", "text/plain; charset=utf-8")], text_of(arrival))
        case "html":
            # a message's HTML is shown without its scripts
            headers = [("content-type", "text/html; charset=utf-8"), ("content-security-policy", "sandbox")]
            protocol.response_str(200, headers, body_of(arrival.raw, "html"))
        case _:
            protocol.response_bytes(200, _JSON, msgspec.json.encode(shown(arrival, whole=True)))


def _read(body: bytes, kind: type[Order]) -> Order:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        raise Invalid(text, pointer=place.rstrip("`").replace(".", "/")) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}") from error


def _number(query: Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 16):
        raise Invalid.many([FieldError(name, f"{name} must be a positive number.")])
    return int(text)


Route = Callable[[Exchange, Query, bytes], Any]
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "health"): lambda exchange, query, body: {"status": "ok"},
    ("GET", "counters"): lambda exchange, query, body: queries.counters(exchange),
    ("GET", "repeats"): list_repeats,
    ("GET", "messages"): list_messages,
    ("GET", "faults"): lambda exchange, query, body: {"items": queries.scripts(exchange)},
    ("POST", "faults"): place_fault,
    ("DELETE", "faults"): lift_faults,
    ("PUT", "targets"): set_targets,
    ("POST", "receipts"): send_receipt,
    ("POST", "reset"): reset,
}
