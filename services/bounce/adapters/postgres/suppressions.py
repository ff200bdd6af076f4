"""Rows of suppressions: locked in one order by all writers, changed in batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from libs.contracts.bounce import SuppressionChanged
from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.ids import uuid7
from libs.messaging.outbox import Outgoing
from libs.storage.arrays import columns
from services.bounce.domain.suppressions import Cause, Evidence, Suppression, SuppressionKey, place, weight

_KEYS = "unnest($1::smallint[], $2::smallint[], $3::bytea[], $4::smallint[])"
# an existing row is locked in the same order, and left unchanged
_ADD = """
insert into suppression (id, reason, active, version, changed_at, lifted_at, bounce_id, message, recipient, actor, note,
  category, provider, rule, rule_set, policy, evidence, tenant, mode, address_hash, scope)
select id, reason, active, version, changed_at, lifted_at, bounce_id, message, recipient, actor, note,
  category, provider, rule, rule_set, policy,
  case when evidence = '' then '{}' else string_to_array(evidence, ',')::uuid[] end,
  tenant, mode, address_hash, scope
from unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::uuid[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
  $17::text[], $18::smallint[], $19::smallint[], $20::bytea[], $21::smallint[])
  as i (id, reason, active, version, changed_at, lifted_at, bounce_id, message, recipient, actor, note, category,
        provider, rule, rule_set, policy, evidence, tenant, mode, address_hash, scope)
order by tenant, mode, address_hash, scope
on conflict (tenant, mode, address_hash, scope) do update set version = suppression.version where false
returning id
"""
_LOCK = f"""
select s.* from {_KEYS} as k (tenant, mode, address_hash, scope)
join suppression s using (tenant, mode, address_hash, scope)
order by s.tenant, s.mode, s.address_hash, s.scope for update of s
"""  # noqa: S608 - our own statement
_PUT = """
update suppression s set reason = i.reason, active = i.active, version = i.version, changed_at = i.changed_at,
  lifted_at = i.lifted_at, bounce_id = i.bounce_id, message = i.message, recipient = i.recipient, actor = i.actor,
  note = i.note, category = i.category, provider = i.provider, rule = i.rule, rule_set = i.rule_set,
  policy = i.policy, evidence = case when i.evidence = '' then '{}' else string_to_array(i.evidence, ',')::uuid[] end
from unnest($1::uuid[], $2::smallint[], $3::boolean[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::uuid[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
  $17::text[])
  as i (id, reason, active, version, changed_at, lifted_at, bounce_id, message, recipient, actor, note, category,
        provider, rule, rule_set, policy, evidence)
where s.id = i.id
"""


class Placed(NamedTuple):
    """Suppressions after new evidence, each list in the order of keys.

    `taken_over`: the address was barred already, now for a weightier reason; it is not counted as suppressed again.
    """

    began: list[Suppression]
    taken_over: list[Suppression]

    @property
    def all(self) -> list[Suppression]:
        return [*self.began, *self.taken_over]


async def place_all(connection: Any, evidence: Sequence[Evidence]) -> Placed:
    """Bar by this evidence; of two for one key the weightier counts, else the earlier."""
    wanted: dict[tuple[int, int, bytes, int], Evidence] = {}
    for item in sorted(evidence, key=lambda made: (-weight(made.reason), made.at)):
        wanted.setdefault(key_of(item.key), item)
    if not wanted:
        return Placed([], [])
    first = {key: _first(wanted[key]) for key in sorted(wanted)}
    rows = [(*_values(item), *key) for key, item in first.items()]
    added = {row["id"] for row in await connection.fetch(_ADD, *columns(rows))}
    known = [key for key, item in first.items() if item.id not in added]
    if not known:
        return Placed(list(first.values()), [])
    rows = await connection.fetch(_LOCK, *columns(known))
    found = [(was, place(was, wanted[key_of(was.key)])) for was in map(to_suppression, rows)]
    changed = [(was, made) for was, made in found if made is not None]
    await put_all(connection, [made for _, made in changed])
    again = [made for was, made in changed if not was.active]
    began = [*(item for item in first.values() if item.id in added), *again]
    return Placed(
        sorted(began, key=lambda item: key_of(item.key)),
        [made for was, made in changed if was.active],
    )


def _first(evidence: Evidence) -> Suppression:
    """Return the suppression that evidence creates for a key that was never barred."""
    made = place(Suppression(uuid7(), evidence.key, evidence.reason, False, 0, evidence.at, ""), evidence)
    assert made is not None  # nothing prevents it
    return made


async def locked(connection: Any, key: SuppressionKey) -> Suppression:
    """Lock and return the row of a key that has one."""
    (row,) = await connection.fetch(_LOCK, *([part] for part in key_of(key)))
    return to_suppression(row)


async def put_all(connection: Any, items: Sequence[Suppression]) -> None:
    """Write rows that the transaction has locked."""
    if items:
        await connection.execute(_PUT, *columns([*map(_values, items)]))


def _values(item: Suppression) -> tuple[Any, ...]:
    cause = item.cause
    return (
        item.id,
        item.reason,
        item.active,
        item.version,
        item.changed_at,
        item.lifted_at,
        item.bounce_id,
        item.message,
        item.recipient,
        item.actor,
        item.note,
        cause.category,
        cause.provider,
        cause.rule,
        cause.rule_set,
        cause.policy,
        ",".join(map(str, cause.evidence)),  # nested arrays would have to have equal lengths
    )


def key_of(key: SuppressionKey) -> tuple[int, int, bytes, int]:
    """Return the key as columns, in the order in which rows are locked."""
    return key.tenant, int(key.mode), key.address_hash, int(key.scope)


def changed(item: Suppression) -> Outgoing:
    """Return the event about a suppression's current state."""
    event = SuppressionChanged(
        suppression_id=item.id,
        address_hash=item.key.address_hash,
        scope=item.key.scope.word,
        reason=item.reason.word,
        active=item.active,
        version=item.version,
        at=item.changed_at,
        bounce_id=item.bounce_id,
        message_id=item.message,
        note=item.note,
        recipient=item.recipient,
    )
    return Outgoing(event, item.key.address_hash.hex(), item.key.tenant, item.key.mode)


def to_suppression(row: Any) -> Suppression:
    """Build one from a row with all columns."""
    key = SuppressionKey(row["tenant"], Mode(row["mode"]), row["address_hash"], Scope(row["scope"]))
    return Suppression(
        id=row["id"],
        key=key,
        reason=Reason(row["reason"]),
        active=row["active"],
        version=row["version"],
        changed_at=row["changed_at"],
        actor=row["actor"],
        lifted_at=row["lifted_at"],
        bounce_id=row["bounce_id"],
        message=row["message"],
        recipient=row["recipient"],
        note=row["note"],
        cause=to_cause(row),
    )


def to_cause(row: Any) -> Cause:
    """Build the cause of a suppression, or of a parked one."""
    return Cause(
        row["category"], row["provider"], row["rule"], row["rule_set"], row["policy"], tuple(row["evidence"] or ())
    )
