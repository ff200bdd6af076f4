"""FCM HTTP v1 over TLS and HTTP/2, on granian's RSGI interface; and the token endpoint of its service account."""

import asyncio
from dataclasses import dataclass, field

from services.simulator.adapters.oauth import TokenEndpoint
from services.simulator.adapters.rsgi import JSON_HEADERS, cut, hang
from services.simulator.domain import push
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import CUTTING, HANGING, Fault, of_address
from services.simulator.handlers import accept, judge, lose, refuse
from services.simulator.ports import HttpProtocol, Scope

_REFUSALS: dict[Fault, push.Refusal] = {
    Fault.TOO_MANY: push.QUOTA,
    Fault.UNAVAILABLE: push.UNAVAILABLE,
    Fault.GREYLISTED: push.UNAVAILABLE,
    Fault.INTERNAL: push.INTERNAL,
    Fault.DEAD: push.UNREGISTERED,
    Fault.MISMATCH: push.MISMATCH,
    Fault.APNS: push.THIRD_PARTY,
    Fault.INVALID: push.invalid(push.NOT_A_TOKEN, "message.token"),
}
_WAITING = frozenset({429, 503})
_MOST_PATHS = 10_000


@dataclass
class Fcm:
    """The RSGI application of the TLS port."""

    exchange: Exchange
    oauth: TokenEndpoint
    stopping: asyncio.Event
    _projects: dict[str, str] = field(default_factory=dict)
    _prefix: int = 0

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        body = await protocol()
        project = self._projects.get(scope.path) or self._project(scope.path)
        if project is None:
            self.oauth.answer(scope, protocol, body)
            return
        self.exchange.tallies["push"].protocols[scope.http_version] += 1
        if not self.oauth.knows(scope.headers.get("authorization")):
            _refuse(self.exchange, _unread(body), push.UNAUTHENTICATED, protocol)
            return
        try:
            call = push.read(body)
        except push.Refusal as refusal:
            _refuse(self.exchange, _unread(body), refusal, protocol)
            return
        if call.validate_only:
            self.exchange.tallies["push"].calls += 1
            self.exchange.tallies["push"].validated += 1
            protocol.response_bytes(200, JSON_HEADERS, f'{{"name":"{project}/messages/fake_message_id"}}'.encode())
            return
        message = call.message
        address = message.address()
        arrival = Arrival("push", address, message.tag(), message.attempt(), body)
        scripted = of_address(address)
        fault = None
        if scripted is not None or self.exchange.faults.scripts:
            fault = judge(self.exchange, "push", scripted, arrival.tag)
        if fault is not None and not await self._answered_otherwise(fault, arrival, scope, protocol):
            return
        if fault is None:
            accept(self.exchange, arrival)
        protocol.response_bytes(200, JSON_HEADERS, f'{{"name":"{project}/messages/{arrival.number}"}}'.encode())

    async def _answered_otherwise(self, fault: Fault, arrival: Arrival, scope: Scope, protocol: HttpProtocol) -> bool:
        """Act out a fault; return True if the call was accepted and is to be answered normally."""
        exchange = self.exchange
        if (refusal := _REFUSALS.get(fault)) is not None:
            _refuse(exchange, arrival, refusal, protocol)
            return False
        if fault in (Fault.RESET, Fault.TIMEOUT_REFUSED):
            lose(exchange, "push")
        else:
            accept(exchange, arrival, fault)
        if fault in CUTTING:
            exchange.tallies["push"].unanswered += fault is Fault.RESET_ACCEPTED
            cut(scope.client)
            return False
        if fault in HANGING:
            exchange.tallies["push"].unanswered += fault is not Fault.TIMEOUT_REFUSED
            await hang(protocol, self.stopping, exchange.timing.hang)
            return False
        if fault is Fault.SLOW:
            await asyncio.sleep(exchange.timing.slow)
        return True

    def _project(self, path: str) -> str | None:
        """Return `projects/<id>` of a send path, with which the response's names begin; None for any other path."""
        version, _, rest = path.strip("/").partition("/")
        project, _, verb = rest.rpartition("/")
        if version != "v1" or verb != "messages:send" or not project.startswith("projects/"):
            return None
        if len(self._projects) < _MOST_PATHS:
            self._projects[path] = project
        return project


def _unread(body: bytes) -> Arrival:
    return Arrival("push", "", "", 0, body)


def _refuse(exchange: Exchange, arrival: Arrival, refusal: push.Refusal, protocol: HttpProtocol) -> None:
    refuse(exchange, arrival, f"{refusal.http} {refusal.code or refusal.status}")
    headers = [*JSON_HEADERS]
    if refusal.http in _WAITING:
        headers.append(("retry-after", str(exchange.timing.retry_after)))
    protocol.response_bytes(refusal.http, headers, refusal.body())
