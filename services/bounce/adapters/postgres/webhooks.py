"""Webhooks as people set them up, with sealed secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs import exact_json
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.keyring import Keyring
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.bounce.domain.webhooks import Secret, Webhook
from services.bounce.ports.webhooks import Realm

PURPOSE = "bounce-webhook"
_MOST_COUNTED = 10_000
_ALL = "select * from webhook where tenant = $1 and mode = $2 order by id"
_ONE = "select * from webhook where tenant = $1 and mode = $2 and id = $3"
_MAKE = """
insert into webhook (id, tenant, mode, url, kinds, note, secrets, enabled, version, created_at, changed_at, next_at,
                     leased_until)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10, $10)
"""
# an edit gives the webhook a fresh start
_CHANGE = """
update webhook set url = $4, kinds = $5, note = $6, secrets = $7, enabled = $8, version = $9, changed_at = $10,
  disabled_for = null, failures = 0, failing_since = null, next_at = $10
where id = $1 and tenant = $2 and mode = $3 and version = $11
returning true
"""
_DELETE = "delete from webhook where id = $1 and version = $2 returning true"
_COUNTS = f"""
select w.id, (select count(*) from (select from webhook_event e where e.webhook_id = w.id and e.state = 0
    limit {_MOST_COUNTED}) as waiting),
  (select count(*) from (select from webhook_event e where e.webhook_id = w.id and e.state = 2
    limit {_MOST_COUNTED}) as given_up)
from unnest($1::uuid[]) as w (id)
"""  # noqa: S608 - our own statement
_ATTEMPTS = """
select * from webhook_attempt where webhook_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3
"""


@dataclass(frozen=True, slots=True)
class PostgresWebhooks:
    database: Database
    keyring: Keyring

    async def all(self, realm: Realm) -> list[Webhook]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_ALL, realm[0], int(realm[1]))
        return [to_webhook(row, self.keyring) for row in rows]

    async def get(self, realm: Realm, id: UUID) -> Webhook | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_ONE, realm[0], int(realm[1]), id)
        return to_webhook(row, self.keyring) if row else None

    async def put(self, webhook: Webhook, action: ActionRecorded, was: int) -> bool:
        values = (
            webhook.id,
            webhook.tenant,
            int(webhook.mode),
            webhook.url,
            list(webhook.kinds),
            webhook.note,
            self._sealed(webhook),
            webhook.enabled,
            webhook.version,
            webhook.changed_at,
        )
        async with self.database.transaction() as connection:
            if was == 0:
                await connection.execute(_MAKE, *values)
            elif not await connection.fetchval(_CHANGE, *values, was):
                return False
            await append(connection, [audited(webhook, action)])
        return True

    async def delete(self, webhook: Webhook, action: ActionRecorded) -> bool:
        async with self.database.transaction() as connection:
            if not await connection.fetchval(_DELETE, webhook.id, webhook.version):
                return False
            await append(connection, [audited(webhook, action)])
        return True

    async def counts(self, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, int]]:
        async with self.database.acquire() as connection:
            return {id_: (waiting, lost) for id_, waiting, lost in await connection.fetch(_COUNTS, list(ids))}

    async def attempts(self, id: UUID, after: UUID | None, limit: int) -> list[Mapping[str, Any]]:
        async with self.database.acquire() as connection:
            return list(await connection.fetch(_ATTEMPTS, id, after, limit))

    def _sealed(self, webhook: Webhook) -> bytes:
        told = [{"key": one.key, "until": one.until.isoformat() if one.until else None} for one in webhook.secrets]
        return self.keyring.seal(PURPOSE, exact_json.dumps(told), webhook.id.bytes)


def audited(webhook: Webhook, action: ActionRecorded) -> Outgoing:
    """Return the audit record of an action on a webhook."""
    return Outgoing(action, str(webhook.id), webhook.tenant, webhook.mode, source="bounce")


def to_webhook(row: Any, keyring: Keyring) -> Webhook:
    """Build one from a row with all columns."""
    secrets = exact_json.loads(keyring.open(PURPOSE, row["secrets"], row["id"].bytes))
    return Webhook(
        id=row["id"],
        tenant=row["tenant"],
        mode=Mode(row["mode"]),
        url=row["url"],
        kinds=tuple(row["kinds"]),
        note=row["note"],
        secrets=tuple(
            Secret(one["key"], datetime.fromisoformat(one["until"]) if one["until"] else None) for one in secrets
        ),
        enabled=row["enabled"],
        version=row["version"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        disabled_for=row["disabled_for"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        next_at=row["next_at"],
    )
