"""Lists for the API and the console, newest first."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Mode
from libs.errors import TooManyRequests
from libs.storage.database import Database
from services.bounce.adapters.postgres.mails import to_mail
from services.bounce.adapters.postgres.suppressions import to_suppression
from services.bounce.domain.suppressions import Suppression
from services.bounce.ports import Filter
from services.bounce.ports.mails import Mail, MailFilter

_BOUNCES = """
select * from bounce where tenant = $1 and mode = $2
  and ($4::bytea is null or address_hash = $4) and ($5::text is null or recipient = $5)
  and ($6::text is null or message = $6) and ($7::text is null or category = $7)
  and ($8::timestamptz is null or (at, id) < ($8, $9::uuid))
order by at desc, id desc limit $3
"""
_BOUNCE = "select * from bounce where tenant = $1 and mode = $2 and id = $3"
# a running transaction may sort before a finished one: the feed stops short of it
_FEED = """
select *, fed_by::text as fed_in from bounce where tenant = $1 and mode = $2
  and fed_by < pg_snapshot_xmin(pg_current_snapshot())
  and ($4::text is null or (fed_by, fed_as) > ($4::text::xid8, $5::bigint))
order by fed_by, fed_as limit $3
"""
_EXPORTS = {
    "bounces": "select * from bounce where tenant = $1 and mode = $2 and at >= $3 and at < $4 order by at, id",
    "suppressions": """
select * from suppression where tenant = $1 and mode = $2 and version > 0 and changed_at >= $3 and changed_at < $4
order by changed_at, id
""",
}
_SUPPRESSIONS = """
select * from suppression where tenant = $1 and mode = $2 and version > 0
  and ($4::bytea is null or address_hash = $4) and ($5::text is null or recipient = $5)
  and ($6::boolean is null or active = $6)
  and ($7::timestamptz is null or (changed_at, id) < ($7, $8::uuid))
order by changed_at desc, id desc limit $3
"""
_SUPPRESSION = "select * from suppression where tenant = $1 and mode = $2 and id = $3 and version > 0"
_MAIL_COLUMNS = "id, recipient, received_at, state, outcome, message, attempts, tenant, mode, again, null::bytea as raw"
# the outcome is in the mail's row, or it is a fact and the row has neither outcome nor tenant
_MAILS = f"""
select * from (select {_MAIL_COLUMNS} from mail
  where tenant = $1 and mode = $2 and ($4::smallint is null or state = $4) and ($5::text is null or outcome = $5)
    and ($6::text is null or message = $6) and ($7::timestamptz is null or received_at >= $7)
    and ($8::timestamptz is null or received_at < $8)
    and ($9::timestamptz is null or (received_at, id) < ($9, $10::uuid))
  order by received_at desc, id desc limit $3) as written
union all
select * from (select m.id, m.recipient, m.received_at, m.state, b.category, b.message, m.attempts, b.tenant, b.mode,
    m.again, null::bytea
  from bounce b join mail m on m.id = b.mail_id
  where b.is_outcome and b.tenant = $1 and b.mode = $2 and m.tenant is null and ($4::smallint is null or $4 = 1)
    and ($5::text is null or b.category = $5) and ($6::text is null or b.message = $6)
    and ($7::timestamptz is null or b.at >= $7) and ($8::timestamptz is null or b.at < $8)
    and ($9::timestamptz is null or (b.at, b.mail_id) < ($9, $10::uuid))
  order by b.at desc, b.mail_id desc limit $3) as told
order by received_at desc, id desc limit $3
"""  # noqa: S608 - our own statement
_MAIL = """
select m.id, m.recipient, m.received_at, m.state, coalesce(m.outcome, told.category) as outcome,
  coalesce(m.message, told.message) as message, m.attempts, m.tenant, m.mode, m.again, m.raw
from mail m left join bounce told on m.tenant is null and told.is_outcome and told.tenant = $1 and told.mode = $2
  and told.at = m.received_at and told.mail_id = m.id
where m.id = $3 and ((m.tenant = $1 and m.mode = $2) or told.id is not null
  or exists (select from bounce b
    where b.message = m.message and b.mail_id = m.id and b.tenant = $1 and b.mode = $2))
"""


# otherwise a client that stops reading would hold a connection and a snapshot indefinitely
_IDLE = "set local idle_in_transaction_session_timeout = {}"


@dataclass(frozen=True, slots=True)
class PostgresReads:
    """At most `max_exports` run at a time, so that the pool's other connections stay free. An export is cut off if its
    client has not read for `export_idle_seconds`."""

    database: Database
    max_exports: int = 2
    export_idle_seconds: float = 60.0
    _exports: set[object] = field(default_factory=set)

    async def bounces(self, wanted: Filter) -> list[Mapping[str, Any]]:
        at, id_ = wanted.after or (None, None)
        async with self.database.acquire() as connection:
            rows = await connection.fetch(
                _BOUNCES,
                wanted.tenant,
                wanted.mode,
                wanted.limit,
                wanted.address_hash,
                wanted.recipient,
                wanted.message,
                wanted.category,
                at,
                id_,
            )
        return list(rows)

    async def bounce(self, tenant: int, mode: Mode, id: UUID) -> Mapping[str, Any] | None:
        async with self.database.acquire() as connection:
            row: Mapping[str, Any] | None = await connection.fetchrow(_BOUNCE, tenant, mode, id)
        return row

    async def feed(self, realm: tuple[int, Mode], after: tuple[str, int] | None, limit: int) -> list[Mapping[str, Any]]:
        """Return facts in the order in which they became visible, without gaps; each with `fed_in` and `fed_as`."""
        place = after or (None, None)
        async with self.database.acquire() as connection:
            return list(await connection.fetch(_FEED, realm[0], int(realm[1]), limit, *place))

    async def export(self, what: str, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> AsyncIterator[Any]:
        """Yield every row of a time span, oldest first, from one snapshot; streamed.

        Raises TooManyRequests if `max_exports` are running, Unavailable when the client has stopped reading.
        """
        if len(self._exports) >= self.max_exports:
            raise TooManyRequests(f"{self.max_exports} exports are running; start this one later.", retry_after=30)
        self._exports.add(mark := object())
        try:
            async with self.database.snapshot() as connection:
                await connection.execute(_IDLE.format(round(self.export_idle_seconds * 1_000)))
                async for row in connection.cursor(_EXPORTS[what], realm[0], int(realm[1]), *span, prefetch=500):
                    yield to_suppression(row) if what == "suppressions" else row
        finally:
            self._exports.discard(mark)

    async def suppressions(self, wanted: Filter) -> list[Suppression]:
        at, id_ = wanted.after or (None, None)
        async with self.database.acquire() as connection:
            rows = await connection.fetch(
                _SUPPRESSIONS,
                wanted.tenant,
                wanted.mode,
                wanted.limit,
                wanted.address_hash,
                wanted.recipient,
                wanted.active,
                at,
                id_,
            )
        return [to_suppression(row) for row in rows]

    async def suppression(self, tenant: int, mode: Mode, id: UUID) -> Suppression | None:
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_SUPPRESSION, tenant, mode, id)
        return to_suppression(row) if row else None

    async def mails(self, wanted: MailFilter) -> list[Mail]:
        """Return a tenant's and mode's mails, without their bytes: submitted with its key, or read as its own."""
        tenant, mode = wanted.owner
        names = (wanted.state, wanted.outcome, wanted.message, wanted.since, wanted.until)
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_MAILS, tenant, mode, wanted.limit, *names, *(wanted.after or (None, None)))
        return [to_mail(row) for row in rows]

    async def mail(self, tenant: int, mode: Mode, id: UUID) -> Mail | None:
        """Return a mail that this tenant and mode submitted, or that became a fact of theirs."""
        async with self.database.acquire() as connection:
            row = await connection.fetchrow(_MAIL, tenant, mode, id)
        return to_mail(row) if row else None
