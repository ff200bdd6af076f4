"""Facts from mails that are read again: void if the new reading lacks them, with what they barred; restored if not."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.messaging.outbox import append
from libs.storage.arrays import columns
from services.bounce.adapters.postgres.lifting import Lift, count_changes, lift_all
from services.bounce.adapters.postgres.suppressions import changed, to_suppression
from services.bounce.domain.parking import ParkState
from services.bounce.domain.rereading import BY_FORM
from services.bounce.domain.suppressions import Suppression
from services.bounce.ports import NewFact, Reading

_NOTE = "the mail behind it was read again, and says something else"
_SAID = """
select id, mail_id, tenant, mode, address_hash from bounce
where message = any($1::text[]) and mail_id = any($2::uuid[]) and not void order by id for update
"""
_VOID = "update bounce set void = true, superseded = true where id = any($1::uuid[])"
_RESTATED = """
update bounce b set void = false, superseded = false, mail_id = coalesce(n.mail_id, b.mail_id), rule = n.rule,
  rule_set = n.rule_set, matched = string_to_array(n.matched, ' '), confidence = n.confidence,
  shadow = string_to_array(nullif(n.shadow, ''), ' '), asked = n.asked,
  model_category = case when n.rule_set like 'model:%' then b.category end,
  model_confidence = case when n.rule_set like 'model:%' then n.confidence end
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::real[], $7::text[], $8::text[])
  as n (id, mail_id, rule, rule_set, matched, confidence, shadow, asked)
where b.id = n.id and b.superseded returning b.id
"""
_BARRED = """
select s.* from suppression s
join (select distinct * from unnest($1::smallint[], $2::smallint[], $3::bytea[]) as k (tenant, mode, address_hash)) as k
  using (tenant, mode, address_hash)
where s.active and s.actor = 'system' and (s.bounce_id = any($4::uuid[]) or s.evidence && $4)
order by s.tenant, s.mode, s.address_hash, s.scope for update of s
"""
_DROP = f"""
update parked set state = {int(ParkState.DROPPED)}, decided_at = $5, actor = 'system', note = $6
from (select distinct * from unnest($1::smallint[], $2::smallint[], $3::bytea[]) as k (tenant, mode, address_hash)) as k
where parked.state = 0 and parked.tenant = k.tenant and parked.mode = k.mode
  and parked.address_hash = k.address_hash and (parked.bounce_id = any($4::uuid[]) or parked.evidence && $4)
"""  # noqa: S608 - our own statement


async def supersede(connection: Any, readings: Sequence[Reading], now: datetime) -> None:
    """Void facts missing from their mail's new reading; an address that this reading still calls dead stays barred."""
    now_said = {reading.mail: reading for reading in readings}
    messages = sorted({reading.message for reading in readings})
    rows = await connection.fetch(_SAID, messages, sorted(now_said))
    gone = [row for row in rows if row["id"] not in now_said[row["mail_id"]].facts]
    if not gone:
        return
    await connection.execute(_VOID, [row["id"] for row in gone])
    alive = [row for row in gone if row["address_hash"] not in now_said[row["mail_id"]].dead]
    ended = await withdraw(connection, alive, now, _NOTE)
    await count_changes(connection, ended, now, lifted=1)
    await append(connection, [changed(item) for item in ended])


async def withdraw(connection: Any, void: Sequence[Any], now: datetime, note: str) -> list[Suppression]:
    """End what rests on these void facts (rows with their address), alone or beside others, and drop what is parked for
    them; return the suppressions, whose rows are locked. The caller counts and publishes them."""
    if not void:
        return []
    keys = [[row[name] for row in void] for name in ("tenant", "mode", "address_hash", "id")]
    barred = [to_suppression(row) for row in await connection.fetch(_BARRED, *keys)]
    ended = await lift_all(connection, barred, Lift(now, "system", note, withdrawn=True))
    await connection.execute(_DROP, *keys, now, note)
    return ended


async def restate(connection: Any, facts: Sequence[NewFact]) -> set[UUID]:
    """Restore those of these known facts that were superseded: they count again, as classified now."""
    if not facts:
        return set()
    rows = [
        (
            one.id,
            one.mail_id,
            one.fact.rule,
            one.fact.rule_set or BY_FORM,
            " ".join(one.fact.matched),
            one.fact.confidence,
            " ".join(one.fact.shadow),
            one.fact.asked,
        )
        for one in facts
    ]
    arrays = columns(rows)
    return {row["id"] for row in await connection.fetch(_RESTATED, *arrays)}
