"""Bars that wait because their provider is not believed: parked, confirmed, released or dropped."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.ids import uuid7
from services.bounce.adapters.postgres.suppressions import key_of
from services.bounce.domain.parking import ParkState
from services.bounce.domain.suppressions import Evidence, Suppression

_PARK = """
insert into parked (id, breaker_id, tenant, mode, address_hash, scope, reason, parked_at, bounce_id, message, recipient,
                    category, provider, rule, rule_set, policy, evidence)
select id, breaker_id, tenant, mode, address_hash, scope, reason, parked_at, bounce_id, message, recipient, category,
  provider, rule, rule_set, policy, string_to_array(evidence, ',')::uuid[]
from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::bytea[], $6::smallint[], $7::smallint[],
  $8::timestamptz[], $9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
  $16::text[], $17::text[])
  as i (id, breaker_id, tenant, mode, address_hash, scope, reason, parked_at, bounce_id, message, recipient, category,
        provider, rule, rule_set, policy, evidence)
on conflict (tenant, mode, address_hash, scope) where state = 0 do nothing
returning bounce_id
"""
_CONCLUDE = """
update parked set state = $2, decided_at = $3, actor = $4, note = $5 where id = any($1::uuid[]) and state = 0
"""
_CONFIRM = """
update parked p set state = $5, decided_at = $6, actor = 'system'
from unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::smallint[]) as k (tenant, mode, address_hash, scope)
where p.tenant = k.tenant and p.mode = k.mode and p.address_hash = k.address_hash and p.scope = k.scope and p.state = 0
"""


async def park(connection: Any, items: Sequence[tuple[UUID, Evidence]]) -> set[UUID]:
    """Park what would have been barred, by breaker; return the facts whose bar was not parked before."""
    if not items:
        return set()
    ordered = sorted(items, key=lambda item: (item[1].key.tenant, item[1].key.mode, item[1].key.address_hash))
    columns = zip(*(_values(breaker, evidence) for breaker, evidence in ordered), strict=True)
    return {row[0] for row in await connection.fetch(_PARK, *(list(column) for column in columns))}


def _values(breaker: UUID, evidence: Evidence) -> tuple[Any, ...]:
    key, cause = evidence.key, evidence.cause
    return (
        uuid7(),
        breaker,
        key.tenant,
        int(key.mode),
        key.address_hash,
        int(key.scope),
        int(evidence.reason),
        evidence.at,
        evidence.bounce_id,
        evidence.message,
        evidence.recipient,
        cause.category,
        cause.provider,
        cause.rule,
        cause.rule_set,
        cause.policy,
        ",".join(map(str, cause.evidence)),
    )


async def confirm(connection: Any, placed: Sequence[Suppression], now: datetime) -> None:
    """Mark parked bars as confirmed where the address has been barred independently."""
    if placed:
        columns = zip(*sorted(key_of(item.key) for item in placed), strict=True)
        state = int(ParkState.CONFIRMED)
        await connection.execute(_CONFIRM, *(list(column) for column in columns), state, now)


async def conclude(connection: Any, ids: Sequence[UUID], state: ParkState, how: tuple[datetime, str, str]) -> int:
    """End the parking of these; `how`: when, who, why. Return how many were still parked."""
    if not ids:
        return 0
    tag = await connection.execute(_CONCLUDE, sorted(ids), int(state), *how)
    return int(tag.rpartition(" ")[2])
