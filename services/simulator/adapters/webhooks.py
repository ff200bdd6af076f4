"""A customer's webhook: accepts all POSTs below /webhooks, and verifies Standard Webhooks signatures
(https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, several secrets and signatures."""

import asyncio
import time
from dataclasses import dataclass

import msgspec

from libs import standard_webhooks
from libs.errors import Unauthorized
from services.simulator.adapters.rsgi import JSON_HEADERS, cut, hang
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import ACCEPTING, CUTTING, HANGING, Fault, of_address
from services.simulator.handlers import accept, judge, lose, refuse
from services.simulator.ports import HttpProtocol, Scope

_STATUS: dict[Fault, int] = {
    Fault.TOO_MANY: 429,
    Fault.UNAVAILABLE: 503,
    Fault.GREYLISTED: 503,
    Fault.INTERNAL: 500,
    Fault.DEAD: 410,
    Fault.MISMATCH: 403,
    Fault.INVALID: 400,
}


def signature_problem(headers: dict[str, str], body: bytes, secrets: tuple[bytes, ...]) -> str | None:
    """Return what is wrong with a webhook's signature; None: nothing. Without secrets it only has to be present."""
    if secrets:
        try:
            standard_webhooks.verify(secrets, headers, body, time.time())
        except Unauthorized as error:
            return error.detail
        return None
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not headers.get(name)]
    return f"header {missing[0]} is missing" if missing else None


@dataclass
class Webhooks:
    """Answers 200, or as the path's fault says."""

    exchange: Exchange
    secrets: tuple[bytes, ...]
    stopping: asyncio.Event

    async def answer(self, scope: Scope, protocol: HttpProtocol, body: bytes) -> None:
        exchange = self.exchange
        headers = {name.lower(): value for name, value in scope.headers.items()}
        attempt = headers.get("x-attempt", "")
        arrival = Arrival(
            "webhook",
            scope.path,
            headers.get("webhook-id") or f"{scope.path} {hash(body):x}",
            int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
            body,
        )
        if scope.method != "POST":
            _respond(protocol, 405, "only POST")
            return
        if (problem := signature_problem(headers, body, self.secrets)) is not None:
            refuse(exchange, arrival, "401 signature")
            _respond(protocol, 401, problem)
            return
        fault = judge(exchange, "webhook", of_address(scope.path), arrival.tag)
        if fault is not None and (status := _STATUS.get(fault)) is not None:
            refuse(exchange, arrival, str(status))
            _respond(protocol, status, fault.value, exchange.timing.retry_after)
            return
        if fault is None or fault in ACCEPTING:
            accept(exchange, arrival, fault)
        else:
            lose(exchange, "webhook")
        if fault in CUTTING or fault in HANGING:
            exchange.tallies["webhook"].unanswered += fault in ACCEPTING
            if fault in CUTTING:
                cut(scope.client)
            else:
                await hang(protocol, self.stopping, exchange.timing.hang)
            return
        if fault is Fault.SLOW:
            await asyncio.sleep(exchange.timing.slow)
        _respond(protocol, 200, "ok")


def _respond(protocol: HttpProtocol, status: int, text: str, retry_after: int = 1) -> None:
    waiting = [("retry-after", str(retry_after))] if status in (429, 503) else []
    protocol.response_bytes(status, [*JSON_HEADERS, *waiting], msgspec.json.encode({"detail": text}))
