"""The rows of `bench.why`: generated inside Postgres, a day at a time, and their size."""

from datetime import UTC, datetime, timedelta

import asyncpg

DAYS = 30
RECIPIENTS = 1_000_000
WAVE = 1_000  # messages of one request of a campaign
ORDERS = 10  # one message in ten is about an order
REPEATED = 20  # one attempt in twenty is a second one

# $1 first number, $2 last, $3 milliseconds of the first, $4 milliseconds between two. A wave shares its cause's time.
_MESSAGES = f"""
create temp table made on commit drop as
select n, about_order, ms, md5('n' || n) as h, md5('c' || cause) as ch, 'customer:' || (n * 7919 % {RECIPIENTS}) as who
from (
  select n, n % {ORDERS} = 0 as about_order,
    case when n % {ORDERS} = 0 then n else -(n / {WAVE}) end as cause,
    $3::bigint
      + ((case when n % {ORDERS} = 0 then n else n / {WAVE} * {WAVE} end - $1::bigint) * $4::float8)::bigint as ms
  from generate_series($1::bigint, $2::bigint) n) numbers
"""
_ID = (
    "(lpad(to_hex(ms), 12, '0') || '{version}' || substr({h}, 1, 3) || '8' || substr({h}, 4, 3)"
    " || substr({h}, 7, 12))::uuid"
)
_NOTIFICATION = _ID.format(version=8, h="h")
_CAUSE = _ID.format(version=7, h="ch")
_REQUEST = "md5('r' || ch)::uuid"
_AT = "to_timestamp(ms / 1000.0)"
_REQUESTS = f"""
insert into history.request (id, cause_id, release_id, communication, tenant, mode, subject)
select distinct {_REQUEST}, {_CAUSE}, md5('release')::uuid, case when about_order then 1 else 2 end, 1, 1,
  case when about_order then 'A-' || n end
from made on conflict do nothing
"""
_TRANSITIONS = f"""
insert into history.transition (notification_id, request_id, at, address_id, address_key, attempt, was, status, reason,
  channel, sender, step, tenant, mode, recipient, locale, provider_ref, detail)
select {_NOTIFICATION}, {_REQUEST}, {_AT} + attempt * interval '1 second', n % 1000000,
  ('x' || substr(h, 1, 16))::bit(64)::bigint, attempt, 1, case when attempt < attempts then 6 else 2 end,
  case when attempt < attempts then 62 else 0 end, 1, 1, 0,
  1, 1, who, 'de', '0:' || substr(h, 1, 16) || '%' || substr(h, 1, 16), null
from made cross join lateral (select case when n % {REPEATED} = 0 then 2 else 1 end as attempts) a
cross join lateral generate_series(1, attempts) attempt
"""
_DECISIONS = f"""
insert into history.decision (cause_id, envelope, ordinal, outcome, tenant, mode, event_type, event_source,
  communication, notification_id, event_id, subject, recipient)
select {_CAUSE}, n % 2000000000, 0, 0, 1, 1, 3, 4, 1, {_NOTIFICATION},
  md5('e' || n)::uuid::text, 'A-' || n, who
from made where about_order
"""
_LEDGER = f"""
insert into delivery.message (notification_id, address_id, request_id, recipient_id, ordinal, claimed_at, recorded_at,
  status, channel, sender, plan_step, variant, locale, attempt, provider_ref, content_digest)
select {_NOTIFICATION}, n % 1000000, {_REQUEST}, n % 1000000, n % {WAVE}, {_AT}, {_AT}, 2, 1, 1, 0, 0, 'de', 1,
  '0:' || substr(h, 1, 16) || '%' || substr(h, 1, 16), sha256(h::bytea)
from made
"""
_SIZES = """
select p.relname as name, sum(pg_total_relation_size(coalesce(i.inhrelid, p.oid)))::bigint as bytes
from pg_class p join pg_namespace n on n.oid = p.relnamespace
left join pg_inherits i on i.inhparent = p.oid
where n.nspname = $1 and p.relkind in ('r', 'p') and not p.relispartition group by p.relname
"""


async def fill(dsn: str, attempts: int) -> int:
    """Generate the rows, a day at a time; return the number of messages."""
    messages = attempts * REPEATED // (REPEATED + 1)
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "history"})
    await connection.execute("set synchronous_commit = off; set work_mem = '64MB'")
    words = ["order-confirmation", "price-alarm", "order.placed", "shop"]
    await connection.execute("insert into term (word) select * from unnest($1::text[])", words)
    a_day = messages // DAYS
    for day in range(DAYS):
        first = day * a_day + 1
        milliseconds = int((start + timedelta(days=day)).timestamp() * 1000)
        async with connection.transaction():
            await connection.execute(_MESSAGES, first, first + a_day - 1, milliseconds, 86_000_000 / a_day, timeout=600)
            for statement in (_REQUESTS, _TRANSITIONS, _DECISIONS, *([_LEDGER] if day == DAYS - 1 else [])):
                await connection.execute(statement, timeout=1_200)
        print(f"\r{(day + 1) * a_day:>12,} messages", end="", flush=True)
    print()
    await connection.execute("vacuum analyze", timeout=1_200)
    await connection.execute("checkpoint", timeout=1_200)  # write everything to disk before measuring
    await connection.close()
    return a_day * DAYS


async def sizes(dsn: str, messages: int) -> dict[str, float]:
    """Return bytes per message, tables and indexes together: of a campaign's message, and of one about an order."""
    connection = await asyncpg.connect(dsn)
    history = {row["name"]: row["bytes"] for row in await connection.fetch(_SIZES, "history")}
    ledger = {row["name"]: row["bytes"] for row in await connection.fetch(_SIZES, "delivery")}
    await connection.close()
    requests = messages / ORDERS + messages / WAVE
    ledger_row = ledger["message"] / (messages / DAYS)
    common = history["transition"] / messages + ledger_row
    request = history["request"] / requests
    campaign = common + request / WAVE
    order = common + request + history["decision"] / (messages / ORDERS)
    mixed = (order + campaign * (ORDERS - 1)) / ORDERS
    figures = {"ledger": ledger_row, "campaign": campaign, "order": order, "mixed": mixed}
    return {name: round(value) for name, value in figures.items()}
