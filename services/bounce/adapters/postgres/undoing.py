"""Undoes bars in bulk: by provider, rule and time, with the facts they rest on."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from libs.contracts.audit import ActionRecorded
from libs.messaging.outbox import Outgoing, append
from services.bounce.adapters.postgres.lifting import Lift, count_changes, lift_all
from services.bounce.adapters.postgres.suppressions import changed, to_suppression
from services.bounce.domain.parking import ParkState
from services.bounce.domain.suppressions import Suppression
from services.bounce.domain.undoing import Selection, Undo, Undone

BATCH = 1_000
_NAMED = """tenant = $1 and mode = $2 and ($5::text is null or provider = $5) and ($6::text is null or rule = $6)
  and ($7::text is null or rule_set = $7) and ($8::text is null or category = $8)
  and (category <> 'complaint' or $8 = 'complaint')"""
_FITS = f"{_NAMED} and ($9::uuid[] is null or bounce_id = any($9))"
_BEGAN = f"active and policy <> '' and changed_at >= $3 and changed_at < $4 and {_FITS}"
_PARKED = f"state = 0 and parked_at >= $3 and parked_at < $4 and {_FITS}"
_SAID = f"""not void and at >= $3 and at < $4 and {_NAMED} and ($9::uuid[] is null or id = any($9))
  and message is not null and decision > 0"""
# $10 facts that are void now, $11 their addresses: suppressions that rest on one of them, beside others, end too
_RESTS = """tenant = $1 and mode = $2 and address_hash = any($11::bytea[]) and evidence && $10::uuid[]
  and bounce_id <> all($10)"""
_LOCK = f"""
select * from suppression where active and policy <> '' and id in (
  (select id from suppression where {_BEGAN} order by tenant, mode, address_hash, scope limit {BATCH})
  union all (select id from suppression where active and {_RESTS}))
order by tenant, mode, address_hash, scope for update
"""  # noqa: S608 - our own statement
_DROP = f"""
update parked set state = {int(ParkState.DROPPED)}, decided_at = $12, actor = $13, note = $14
where id in (select id from parked where state = 0 and id in (
  (select id from parked where {_PARKED} order by id limit {BATCH})
  union all (select id from parked where state = 0 and {_RESTS})) order by id for update)
"""  # noqa: S608 - our own statement
_VOID = f"""
update bounce set void = true where id in (select id from bounce where {_SAID} order by id limit {BATCH} for update)
returning id, address_hash
"""  # noqa: S608 - our own statement
_WOULD_REST = f"""id in (select s.id from (select id, address_hash from bounce where {_SAID}) as f join {{table}} as s
  on s.tenant = $1 and s.mode = $2 and s.address_hash = f.address_hash
  where f.id = any(s.evidence) and f.id <> s.bounce_id)"""  # noqa: S608
_ENDS = f"({_BEGAN} or active and policy <> '' and {_WOULD_REST.format(table='suppression')})"
_COUNTS = f"""
select (select count(*) from suppression where {_ENDS}),
  (select count(*) from parked where {_PARKED} or state = 0 and {_WOULD_REST.format(table="parked")}),
  (select count(*) from bounce where {_SAID})
"""  # noqa: S608 - our own statement
_GROUPS = f"""
select category, provider, coalesce(rule, '') as rule, policy, count(*) as count from suppression where {_ENDS}
group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4 limit 50
"""  # noqa: S608 - our own statement
_EXAMPLES = f"""
select s.*, b.text as said from (
  select * from suppression where {_ENDS} order by changed_at desc, id desc limit $10) as s
left join bounce b on b.id = s.bounce_id order by s.changed_at desc, s.id desc
"""  # noqa: S608 - our own statement


async def undo_batch(connection: Any, wanted: Selection, undo: Undo) -> Undone:
    """Undo up to one batch of each kind; falsy when nothing is left. Facts go first: suppressions depend on them."""
    names = _arguments(wanted)
    void = await connection.fetch(_VOID, *names)
    facts = {row["id"] for row in void}
    resting = (sorted(facts), sorted({row["address_hash"] for row in void}))
    found = [to_suppression(row) for row in await connection.fetch(_LOCK, *names, *resting)]
    lifted: list[Suppression] = []
    for withdrawn in (False, True):  # withdrawn: of two proofs the valid one still counts, nobody lifts the suppression
        some = [item for item in found if _stands(item, facts) is withdrawn]
        lifted += await lift_all(connection, some, Lift(undo.at, undo.actor, undo.note, withdrawn))
    dropped = await connection.execute(_DROP, *names, *resting, undo.at, undo.actor, undo.note)
    done = Undone(len(lifted), _count(dropped), len(void))
    if done:
        action = ActionRecorded(
            actor=undo.actor,
            action="suppressions.undo",
            object=str(undo.id),
            at=undo.at,
            before=wanted.shown(),
            after=asdict(done),
            note=undo.note,
        )
        await count_changes(connection, lifted, undo.at, lifted=1)
        told = Outgoing(action, str(undo.id), wanted.tenant, wanted.mode, source="bounce")
        await append(connection, [*map(changed, lifted), told])
    return done


async def preview(connection: Any, wanted: Selection, examples: int) -> tuple[Undone, list[Any], list[Any]]:
    """Return what an undo would change: how many, by which rules, and the newest with the server's words."""
    names = _arguments(wanted)
    counts = await connection.fetchrow(_COUNTS, *names)
    return (
        Undone(*counts),
        await connection.fetch(_GROUPS, *names),
        await connection.fetch(_EXAMPLES, *names, examples),
    )


def _stands(item: Suppression, void: set[UUID]) -> bool:
    """Whether the fact that barred is valid, but another one in its evidence is void."""
    return item.bounce_id not in void and not void.isdisjoint(item.cause.evidence)


def _arguments(wanted: Selection) -> tuple[Any, ...]:
    return (
        wanted.tenant,
        int(wanted.mode),
        wanted.since,
        wanted.until,
        wanted.provider,
        wanted.rule,
        wanted.rule_set,
        wanted.category,
        None if wanted.facts is None else list(wanted.facts),
    )


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
