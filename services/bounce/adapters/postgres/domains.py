"""Domains reported to have no mail: checked in the DNS, barred with their addresses, released again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.messaging.outbox import append
from libs.storage.database import Database
from services.bounce.adapters.postgres.lifting import Lift, count_changes, lift_all
from services.bounce.adapters.postgres.superseding import withdraw
from services.bounce.adapters.postgres.suppressions import changed, place_all, to_suppression
from services.bounce.domain.domains import POLICY, Answer, Domain, DomainState, after, ask_again_at
from services.bounce.domain.judging import Judged
from services.bounce.domain.policy import Decision, Waits
from services.bounce.domain.suppressions import Cause, Evidence, SuppressionKey

_BATCH = 1_000
# checked at once, even if there is an answer: it is older than this refusal
_ASK = """
insert into domain as d (name, due_at, since) select name, $2, $2 from unnest($1::text[]) as i (name) order by name
on conflict (name) do update set due_at = least(d.due_at, $2)
"""
# the lease is a later due time: a worker that dies gives its domains back without further action
_LEASE = """
update domain set due_at = $2 where name in (
  select name from domain where due_at <= $1 order by due_at limit $3 for update skip locked)
returning name, state, since, tries
"""
_PUT = """
update domain set state = $2, since = $3, tries = $4, answer = $5, asked_at = $6,
  due_at = coalesce($7::timestamptz, 'infinity')
where name = $1
"""
_WAITING = """
select * from bounce where domain = $1 and decision = $2 and not void and at > $3 order by id limit $4 for update
"""
_DECIDED = "update bounce set decision = $2, policy = $3 where id = any($1::uuid[])"
_DISPROVED = "update bounce set decision = $2, policy = $3, void = true where id = any($1::uuid[])"
_BARRED = """
select s.* from suppression s join bounce b on b.id = s.bounce_id
where b.domain = $1 and s.active and s.policy = $2
order by s.tenant, s.mode, s.address_hash, s.scope limit $3 for update of s
"""


async def ask(connection: Any, judged: Iterable[Judged], now: datetime) -> None:
    """Schedule DNS checks of the domains that verdicts wait for."""
    names = {item.verdict.asks for item in judged if isinstance(item.verdict, Waits) and item.verdict.asks}
    if names:
        await connection.execute(_ASK, sorted(names), now)


@dataclass(frozen=True, slots=True)
class PostgresDomains:
    """`again`: how long a dead domain's answer is valid; `remember`: the maximum age of the facts it decides."""

    database: Database
    again: timedelta
    remember: timedelta

    async def lease(self, limit: int, now: datetime, seconds: float) -> list[Domain]:
        """Lease domains that are due for `seconds`."""
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_LEASE, now, now + timedelta(seconds=seconds), limit)
        return [Domain(row["name"], DomainState(row["state"]), row["since"], row["tries"]) for row in rows]

    async def conclude(self, domain: Domain, answer: Answer, now: datetime) -> int:
        """Apply an answer; return how many addresses were barred or released.

        First the addresses, then the domain: after a crash in between, the domain is checked again.
        """
        then, count = after(domain, answer, now), 0
        if answer.takes_mail is not None:
            step = self._let_go if answer.takes_mail else self._bar
            while some := await step(domain.name, answer, now):
                count += some
        async with self.database.acquire() as connection:
            due = ask_again_at(then, now, self.again)
            values = (int(then.state), then.since, then.tries, answer.words, now, due)
            await connection.execute(_PUT, domain.name, *values)
        return count

    async def _bar(self, name: str, answer: Answer, now: datetime) -> int:
        async with self.database.transaction() as connection:
            rows = await self._waiting(connection, name, now)
            placed = await place_all(connection, [_evidence(row, answer) for row in rows])
            await connection.execute(_DECIDED, [row["id"] for row in rows], int(Decision.BARS), POLICY)
            await count_changes(connection, placed.began, now, suppressed=1)
            await append(connection, [changed(item) for item in placed.all])
        return len(rows)

    async def _let_go(self, name: str, answer: Answer, now: datetime) -> int:
        async with self.database.transaction() as connection:
            rows = await self._waiting(connection, name, now)
            await connection.execute(_DISPROVED, [row["id"] for row in rows], int(Decision.LEAVES), "domain-alive")
            found = [to_suppression(row) for row in await connection.fetch(_BARRED, name, POLICY, _BATCH)]
            lifted = await lift_all(connection, found, Lift(now, "system", answer.words))
            lifted += await withdraw(connection, rows, now, f"{answer.words}, so the refusal proves nothing")
            await count_changes(connection, lifted, now, lifted=1)
            await append(connection, [changed(item) for item in lifted])
        return len(rows) + len(lifted)

    async def _waiting(self, connection: Any, name: str, now: datetime) -> list[Any]:
        since = now - self.remember
        found: list[Any] = await connection.fetch(_WAITING, name, int(Decision.ASKS), since, _BATCH)
        return found


def _evidence(row: Any, answer: Answer) -> Evidence:
    key = SuppressionKey(row["tenant"], Mode(row["mode"]), row["address_hash"], Scope.ALL)
    cause = Cause(row["category"], row["provider"], row["rule"], row["rule_set"], POLICY, (row["id"],))
    about = (row["id"], row["message"], row["recipient"], answer.words)
    return Evidence(key, Reason.SUPPRESSED_BOUNCE, row["at"], "system", *about, cause=cause)
