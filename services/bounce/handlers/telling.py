"""Notifies other systems: from an event of ours to a signed call of each webhook that subscribes to it."""

import asyncio
import time
from collections.abc import Sequence

from libs import exact_json, standard_webhooks
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.envelope import Envelope
from libs.contracts.erasing import began
from libs.telemetry import span
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.webhooks import Call, Told, Webhook
from services.bounce.handlers.deps import Bounce
from services.bounce.ports.webhooks import ForWebhooks

AT_ONCE = 100  # events of one webhook per commit
_BEGUN_WITHIN_SECONDS = 20.0  # calls not begun by then wait for the next turn


async def tell_webhooks(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Queue events for each webhook; writes nothing if none is enabled."""
    listening = await deps.telling.listening()
    wanted = [envelope for envelope in batch if (envelope.tenant, envelope.mode) in listening]
    if wanted:
        await deps.telling.add([_for_webhooks(envelope) for envelope in wanted])


def _for_webhooks(envelope: Envelope) -> ForWebhooks:
    event = envelope.data
    data = _fact(event) if isinstance(event, BounceClassified) else _suppression(event)
    body = exact_json.dumps({"type": event.TYPE, "timestamp": event.at, "data": data})
    realm = (envelope.tenant, envelope.mode)
    return ForWebhooks(realm, envelope.id, event.TYPE, envelope.time, body, event.recipient, began(event))


def _fact(event: BounceClassified) -> dict[str, object]:
    """Use the same field names as over HTTP."""
    return {
        "id": event.bounce_id,
        "at": event.at,
        "category": event.category,
        "group": event.group,
        "action": CATEGORIES[event.category].action,
        "origin": event.origin,
        "recipient": event.recipient,
        "message": event.message_id,
        "attempt": event.attempt,
        "reply_code": event.reply_code,
        "enhanced_code": event.enhanced_code,
        "text": event.text,
    }


def _suppression(event: SuppressionChanged) -> dict[str, object]:
    return {
        "id": event.suppression_id,
        "changed_at": event.at,
        "active": event.active,
        "scope": event.scope,
        "reason": event.reason,
        "version": event.version,
        "recipient": event.recipient,
        "message": event.message_id,
        "bounce": event.bounce_id,
        "note": event.note,
    }


async def call_webhook(deps: Bounce, webhook: Webhook) -> None:
    """Take one turn of a claimed webhook: call it with what is due, then store the results in one commit.

    While it fails, only one event at a time is tried. A crash before the commit repeats the calls, under the same ids.
    """
    events = await deps.telling.due(webhook.id, deps.clock(), 1 if webhook.failures else AT_ONCE)
    waiting = iter(events)
    calls: list[Call] = []
    until = time.monotonic() + _BEGUN_WITHIN_SECONDS

    async def work() -> None:
        for event in waiting:
            if time.monotonic() >= until:
                return
            calls.append(await call_once(deps, webhook, event))

    with span("webhook called", events=len(events)):
        async with asyncio.TaskGroup() as group:
            for _ in range(min(deps.settings.webhook_connections, len(events))):
                group.create_task(work())
        await deps.telling.settle(webhook, calls, deps.clock())


async def call_once(deps: Bounce, webhook: Webhook, event: Told) -> Call:
    """Every attempt has the same id, by which the receiver deduplicates."""
    at = deps.clock()
    keys = [standard_webhooks.secret_bytes(key) for key in webhook.keys(at)]
    signed = standard_webhooks.sign(keys, str(event.id), int(at.timestamp()), event.body)
    answer = await deps.caller.call(webhook.url, signed | {"content-type": "application/json"}, event.body)
    return Call(event, at, answer)
