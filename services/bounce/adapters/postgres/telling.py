"""Events for webhooks: added once, called by one process at a time, logged, sent again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from libs.contracts.audit import ActionRecorded
from libs.contracts.erasing import is_gone
from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.keyring import Keyring
from libs.messaging.outbox import append
from libs.storage.arrays import columns
from libs.storage.database import Database
from libs.storage.erasures import erased_among
from libs.telemetry import get_logger
from services.bounce.adapters.postgres.webhooks import audited, to_webhook
from services.bounce.domain.webhooks import Call, Told, Webhook, after, after_all
from services.bounce.ports.webhooks import Again, ForWebhooks, Realm

_calls = Counter("depesche_bounce_webhook_calls", "Calls of other systems' webhooks", ["outcome"])
_disabled = Counter("depesche_bounce_webhooks_disabled", "Webhooks that were disabled because they failed", ["reason"])

log = get_logger(__name__)

_SLICE = 5_000
_LISTENING = "select distinct tenant, mode from webhook where enabled"
_ADD = """
insert into webhook_event (webhook_id, event_id, kind, at, body, recipient, due_at)
select w.id, e.id, e.kind, e.at, e.body, e.recipient, e.at
from unnest($1::smallint[], $2::smallint[], $3::uuid[], $4::text[], $5::timestamptz[], $6::bytea[], $7::text[])
  as e (tenant, mode, id, kind, at, body, recipient)
join webhook w on w.tenant = e.tenant and w.mode = e.mode and w.enabled and e.kind = any(w.kinds)
order by w.id, e.id
on conflict (webhook_id, event_id) do nothing
"""
_CLAIM = """
update webhook set leased_until = $3 where id in (
  select id from webhook w
  where enabled and next_at <= $2 and leased_until <= $2
    and exists (select from webhook_event e where e.webhook_id = w.id and e.state = 0 and e.due_at <= $2)
  order by next_at limit $1 for update skip locked)
returning *
"""
_DUE = """
select event_id, kind, body, attempts from webhook_event where webhook_id = $1 and state = 0 and due_at <= $2
order by due_at limit $3
"""
_SETTLE = """
update webhook_event e set state = r.state, due_at = r.due_at, attempts = e.attempts + 1
from unnest($2::uuid[], $3::smallint[], $4::timestamptz[]) as r (id, state, due_at)
where e.webhook_id = $1 and e.event_id = r.id and e.state = 0
"""
# set `enabled` only to disable: somebody may have edited the webhook in the meantime
_STANDS = """
update webhook set failures = $2, failing_since = $3, next_at = $4, leased_until = $5,
  enabled = enabled and $6, disabled_for = coalesce($7, disabled_for), version = version + ($7 is not null)::int
where id = $1
"""
_LOG = """
insert into webhook_attempt (id, webhook_id, event_id, kind, at, status, error, milliseconds)
select id, $1, event_id, kind, at, status, error, milliseconds
from unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::smallint[], $7::text[], $8::int[])
  as new (id, event_id, kind, at, status, error, milliseconds)
where exists (select from webhook where id = $1)
"""
_AGAIN = """
update webhook_event set state = 0, attempts = 0, due_at = $7
where webhook_id = $1 and (state = 2 or $4 and state = 1) and at >= $2 and at < $3
  and ($6 or event_id = any($5::uuid[]))
"""
_FORGET = (
    f"""delete from webhook_event where ctid = any(array(
          select ctid from webhook_event where at < $1 limit {_SLICE}))""",  # noqa: S608 - our own statement
    f"""delete from webhook_attempt where ctid = any(array(
          select ctid from webhook_attempt where at < $1 limit {_SLICE}))""",  # noqa: S608 - our own statement
)


@dataclass(frozen=True, slots=True)
class PostgresTelling:
    """`disable_after`: how long a webhook may fail before it is disabled."""

    database: Database
    keyring: Keyring
    disable_after: timedelta

    async def listening(self) -> set[Realm]:
        async with self.database.acquire() as connection:
            return {(row["tenant"], Mode(row["mode"])) for row in await connection.fetch(_LISTENING)}

    async def add(self, events: Sequence[ForWebhooks]) -> None:
        """Queue the events, except those about recipients who were erased after they began."""
        async with self.database.transaction() as connection:
            gone = await erased_among(connection, ((*e.realm, e.recipient) for e in events if e.recipient))
            stays = [e for e in events if not is_gone(gone, (*e.realm, e.recipient or ""), e.began)]
            if stays:
                rows = [(*e.realm, e.id, e.kind, e.at, e.body, e.recipient) for e in stays]
                await connection.execute(_ADD, *columns(rows))

    async def claim(self, limit: int, now: datetime, seconds: float) -> list[Webhook]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_CLAIM, limit, now, now + timedelta(seconds=seconds))
        return [to_webhook(row, self.keyring) for row in rows]

    async def due(self, webhook: UUID, now: datetime, limit: int) -> list[Told]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_DUE, webhook, now, limit)
        return [Told(row["event_id"], row["kind"], row["body"], row["attempts"]) for row in rows]

    async def settle(self, webhook: Webhook, calls: Sequence[Call], now: datetime) -> None:
        results = sorted((call.event.id, *after(call, now)) for call in calls)
        stands = after_all(webhook, calls, now, self.disable_after)
        async with self.database.transaction() as connection:
            if results:
                await connection.execute(_SETTLE, webhook.id, *columns(results))
            await _logged(connection, webhook.id, calls)
            await connection.execute(
                _STANDS,
                webhook.id,
                stands.failures,
                stands.failing_since,
                stands.next_at,
                now,
                stands.enabled,
                stands.disabled_for,
            )
        for call in calls:
            _calls.labels("delivered" if call.answer.is_ok else "failed").inc()
        if stands.disabled_for and not stands.enabled:
            _disabled.labels(stands.disabled_for).inc()
            log.error("webhook_disabled", tenant=webhook.tenant, mode=webhook.mode.word, reason=stands.disabled_for)

    async def log(self, webhook: Webhook, call: Call, action: ActionRecorded) -> None:
        async with self.database.transaction() as connection:
            await _logged(connection, webhook.id, [call])
            await append(connection, [audited(webhook, action)])

    async def again(self, webhook: Webhook, wanted: Again, action: ActionRecorded) -> int:
        events = list(wanted.events)
        async with self.database.transaction() as connection:
            tag = await connection.execute(
                _AGAIN, webhook.id, wanted.since, wanted.until, wanted.delivered, events, not events, action.at
            )
            await append(connection, [audited(webhook, action)])
        return int(tag.rpartition(" ")[2])

    async def forget_before(self, moment: datetime) -> int:
        count = 0
        async with self.database.acquire() as connection:
            for statement in _FORGET:
                count += int((await connection.execute(statement, moment)).rpartition(" ")[2])
        return count


async def _logged(connection: Any, webhook: UUID, calls: Sequence[Call]) -> None:
    rows = [
        (uuid7(), c.event.id, c.event.kind, c.at, c.answer.status, c.answer.error, c.answer.milliseconds) for c in calls
    ]
    if rows:
        await connection.execute(_LOG, webhook, *columns(rows))
