"""The background loop that sends receipts, callbacks and bounce mails. Ends with the LOOPS table."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from libs import standard_webhooks
from libs.clock import pause
from services.simulator.domain.agenda import Due, OwnReceipt, ReturnedMail, StatusCallback
from services.simulator.domain.exchange import Exchange, Sent
from services.simulator.domain.sms import signature
from services.simulator.ports import Outgoing

_POLL_SECONDS = 0.05
_AGAIN_SECONDS = 1.0
_MOST_TRIES = 60
_AT_ONCE = 16


@dataclass(frozen=True)
class Debts:
    """The loop's dependencies; `key` signs the simulator's own receipts."""

    exchange: Exchange
    outgoing: Outgoing
    key: bytes


async def settle_debts(debts: Debts, stop: asyncio.Event) -> None:
    """Until `stop`: send what is due; what is not accepted is retried every second, for a minute."""
    exchange = debts.exchange
    while not stop.is_set():
        due = exchange.agenda.take(exchange.clock())
        receipts = [one for one in due if isinstance(one.owed, OwnReceipt)]
        others = [one for one in due if not isinstance(one.owed, OwnReceipt)]
        if receipts:
            await _post_receipts(debts, receipts)
        for start in range(0, len(others), _AT_ONCE):
            await asyncio.gather(*(_hand_over(debts, one) for one in others[start : start + _AT_ONCE]))
        if not due:
            await pause(stop, _POLL_SECONDS)


async def _post_receipts(debts: Debts, batch: Sequence[Due]) -> None:
    exchange = debts.exchange
    now = datetime.now(UTC)
    owed = [due.owed for due in batch if isinstance(due.owed, OwnReceipt)]
    body = msgspec.json.encode(
        [
            {
                "id": one.id,
                "message": one.message,
                "attempt": one.attempt,
                "channel": one.channel,
                "kind": one.kind,
                "at": now,
                "detail": one.detail,
            }
            for one in owed
        ]
    )
    signed = standard_webhooks.sign([debts.key], str(uuid4()), int(now.timestamp()), body)
    url = exchange.targets.callback_url
    status = await debts.outgoing.post(url, {"content-type": "application/json", **signed}, body) if url else 0
    for due in batch:
        _count(exchange, exchange.callbacks, due, status)


async def _hand_over(debts: Debts, due: Due) -> None:
    exchange, targets = debts.exchange, debts.exchange.targets
    match due.owed:
        case StatusCallback(url, token, fields):
            headers = {
                "content-type": "application/x-www-form-urlencoded",
                "user-agent": "TwilioProxy/1.1",
                "x-twilio-signature": signature(token, url, fields),
            }
            status = await debts.outgoing.post(url, headers, urlencode(fields).encode())
            _count(exchange, exchange.callbacks, due, status)
        case ReturnedMail(to, raw):
            taken = False
            if targets.bounce_port:
                taken = await debts.outgoing.send_mail(targets.bounce_host, targets.bounce_port, to, raw)
            status = (200 if taken else None) if targets.bounce_port else 0
            _count(exchange, exchange.bounces, due, status)
        case OwnReceipt():  # these are sent in batches
            pass


def _count(exchange: Exchange, sent: Sent, due: Due, status: int | None) -> None:
    """Count it as delivered, or failed (also without a target: 0), or schedule a retry."""
    if status is not None and 200 <= status < 300:
        sent.delivered += 1
    elif (status is None or status >= 500 or status == 429) and due.tries < _MOST_TRIES:
        exchange.agenda.add(exchange.clock() + _AGAIN_SECONDS, due.again())
    else:
        sent.failed += 1


LOOPS: dict[str, Callable[[Debts, asyncio.Event], Coroutine[Any, Any, None]]] = {"debts": settle_debts}
