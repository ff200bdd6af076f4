"""Twilio's SMS API: `POST /2010-04-01/Accounts/{sid}/Messages.json`, and its status callbacks."""

import asyncio
import base64
import binascii
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from services.simulator.adapters.rsgi import JSON_HEADERS, cut, hang
from services.simulator.domain import sms
from services.simulator.domain.agenda import Due, StatusCallback
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.exchange import SMS_LIST, Exchange
from services.simulator.domain.faults import ACCEPTING, CUTTING, HANGING, Fault, of_phone
from services.simulator.handlers import accept, judge, lose, refuse
from services.simulator.ports import HttpProtocol, Scope

_REFUSALS: dict[Fault, sms.Refusal] = {
    Fault.TOO_MANY: sms.TOO_MANY,
    Fault.UNAVAILABLE: sms.UNAVAILABLE,
    Fault.GREYLISTED: sms.UNAVAILABLE,
    Fault.INTERNAL: sms.INTERNAL,
    Fault.STOPPED: sms.STOPPED,
}
_LATE = frozenset({Fault.LATE_RECEIPT, Fault.TIMEOUT_RECEIPT})
_KEPT = 100_000


class _Kept(NamedTuple):
    """A message as returned, and when it was accepted (Unix milliseconds)."""

    milliseconds: int
    shown: dict[str, Any]


@dataclass
class SmsApi:
    """`token` empty: any credentials are accepted, and callbacks are signed with those of the request."""

    exchange: Exchange
    token: str
    stopping: asyncio.Event
    _messages: "OrderedDict[str, _Kept]" = field(default_factory=OrderedDict)

    async def answer(self, scope: Scope, protocol: HttpProtocol, body: bytes) -> None:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        raw = msgspec.json.encode(form)
        try:
            account, password = self._login(scope)
            parts = scope.path.strip("/").split("/")
            if len(parts) < 4 or parts[1] != "Accounts" or parts[2] != account or not parts[-1].endswith(".json"):
                raise sms.NOT_FOUND
            if scope.method == "GET":
                self._read(parts[3:], scope, protocol)
                return
            if parts[3:] != ["Messages.json"] or scope.method != "POST":
                raise sms.NOT_FOUND
            sms.check(form)
        except sms.Refusal as refusal:
            if scope.method == "POST":
                refuse(self.exchange, Arrival("sms", form.get("To", ""), "", 0, raw), f"{refusal.http} {refusal.code}")
            _respond(protocol, refusal.http, refusal.body())
            return
        tag, attempt = sms.tag_and_attempt(form, scope.headers.get("x-client-reference"))
        arrival = Arrival("sms", form["To"], tag, attempt, raw, form.get("From", ""))
        await self._take(arrival, form, (account, password), (scope, protocol))

    async def _take(
        self, arrival: Arrival, form: dict[str, str], login: tuple[str, str], call: tuple[Scope, HttpProtocol]
    ) -> None:
        exchange, (scope, protocol) = self.exchange, call
        fault = judge(exchange, "sms", of_phone(arrival.address), arrival.tag)
        refusal = sms.not_a_number(arrival.address) if fault in (Fault.DEAD, Fault.INVALID) else None
        if fault is not None and (refusal := refusal or _REFUSALS.get(fault)) is not None:
            refuse(exchange, arrival, f"{refusal.http} {refusal.code}")
            _respond(protocol, refusal.http, refusal.body(), exchange.timing.retry_after)
            return
        message = None
        if fault is None or fault in ACCEPTING:
            accept(exchange, arrival, fault)
            message = self._made(form, login[0])
            self._owe(message, form, login[1], fault)
        else:
            lose(exchange, "sms")
        if fault in CUTTING or fault in HANGING:
            exchange.tallies["sms"].unanswered += message is not None
            if fault in CUTTING:
                cut(scope.client)
            else:
                await hang(protocol, self.stopping, exchange.timing.hang)
            return
        if fault is Fault.SLOW:
            await asyncio.sleep(exchange.timing.slow)
        _respond(protocol, 201, message)

    def _login(self, scope: Scope) -> tuple[str, str]:
        scheme, _, encoded = (scope.headers.get("authorization") or "").partition(" ")
        try:
            account, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise sms.UNAUTHENTICATED from error
        if scheme.lower() != "basic" or not colon or (self.token and not secrets.compare_digest(password, self.token)):
            raise sms.UNAUTHENTICATED
        return account, password

    def _made(self, form: dict[str, str], account: str) -> dict[str, Any]:
        sid, now = f"SM{secrets.token_hex(16)}", format_datetime(datetime.now(UTC))
        message = {
            "sid": sid,
            "account_sid": account,
            "api_version": "2010-04-01",
            "body": form.get("Body", ""),
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "status": "queued",
            "direction": "outbound-api",
            "num_segments": "1",
            "num_media": "0",
            "date_created": now,
            "date_updated": now,
            "date_sent": None,
            "error_code": None,
            "error_message": None,
            "price": None,
            "price_unit": "USD",
            "uri": f"/2010-04-01/Accounts/{account}/Messages/{sid}.json",
        }
        self._messages[sid] = _Kept(self.exchange.unix(), message)
        if len(self._messages) > _KEPT:
            self._messages.popitem(last=False)
        return message

    def _owe(self, message: dict[str, Any], form: dict[str, str], token: str, fault: Fault | None) -> None:
        """Schedule its status callback: late, twice or undelivered if the number asks for it."""
        failed = fault is Fault.UNDELIVERED
        message["status"] = "undelivered" if failed else "delivered"
        if failed:
            message["error_code"] = 30005
        if not (url := form.get("StatusCallback")):
            return
        fields = [
            ("AccountSid", message["account_sid"]),
            ("ApiVersion", "2010-04-01"),
            ("From", message["from"] or ""),
            ("MessageSid", message["sid"]),
            ("MessageStatus", message["status"]),
            ("SmsSid", message["sid"]),
            ("SmsStatus", message["status"]),
            ("To", message["to"]),
            *([("ErrorCode", "30005")] if failed else []),
        ]
        exchange = self.exchange
        delay = exchange.timing.late if fault in _LATE else exchange.timing.receipt
        for number in range(2 if fault is Fault.DOUBLE_RECEIPT else 1):
            due = Due(StatusCallback(url, token, tuple(fields)))
            exchange.agenda.add(exchange.clock() + delay * (number + 1), due)

    def _read(self, rest: list[str], scope: Scope, protocol: HttpProtocol) -> None:
        """Return one message, or those to a number, newest first, which `on_unknown: verify` queries. A message is
        listed some time after it was accepted, as at Twilio."""
        if (fault := self.exchange.faults.of_channel(SMS_LIST)) in _REFUSALS:
            refusal = _REFUSALS[fault]
            _respond(protocol, refusal.http, refusal.body(), self.exchange.timing.retry_after)
        elif len(rest) == 2 and rest[0] == "Messages":
            message = self._messages.get(rest[1].removesuffix(".json"))
            if message is None:
                raise sms.NOT_FOUND
            _respond(protocol, 200, message.shown)
        elif rest == ["Messages.json"]:
            query = dict(parse_qsl(scope.query_string))
            _respond(protocol, 200, self._listed(query.get("To"), sms.page_size(query), scope.path))
        else:
            raise sms.NOT_FOUND

    def _listed(self, to: str | None, size: int, path: str) -> dict[str, Any]:
        seen = self.exchange.unix() - self.exchange.timing.listed * 1000
        messages = (m for m in reversed(self._messages.values()) if to is None or m.shown["to"] == to)
        found = [m.shown for m in messages if m.milliseconds <= seen]
        more = f"{path}?PageSize={size}&Page=1" if len(found) > size else None
        return {"messages": found[:size], "page": 0, "page_size": size, "next_page_uri": more}


def _respond(protocol: HttpProtocol, status: int, document: Any, retry_after: int = 1) -> None:
    waiting = [("retry-after", str(retry_after))] if status in (429, 503) else []
    protocol.response_bytes(status, [*JSON_HEADERS, *waiting], msgspec.json.encode(document))
