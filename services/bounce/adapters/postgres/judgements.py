"""Facts by the rule set that classified them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.contracts.outcomes import Mode
from libs.storage.database import Database
from services.bounce.ports.rules import JudgedBy, Place

# every fact is counted in the transaction that adds it, and there are far fewer figures than facts
_REALMS = "select distinct tenant, mode from figure where grain = 1 and bucket >= $1 order by 1, 2"
_PAGE = """
select id, at, category, permanent, rule, rule_set, text, reply_code, enhanced_code, provider, origin, stage,
  vendor_category from bounce
where tenant = $1 and mode = $2 and at >= $3 and (rule_set = any($4::text[]) or asked = any($4))
  and ($5::text[] is null or rule = any($5)) and ($6::timestamptz is null or (at, id) > ($6, $7::uuid))
  and not void and decision > 0 and message is not null
order by at, id limit $8
"""


@dataclass(frozen=True, slots=True)
class PostgresJudgements:
    database: Database

    async def realms(self, since: datetime) -> list[tuple[int, Mode]]:
        day = since.replace(hour=0, minute=0, second=0, microsecond=0)
        async with self.database.acquire() as connection:
            return [(row["tenant"], Mode(row["mode"])) for row in await connection.fetch(_REALMS, day)]

    async def page(self, wanted: JudgedBy, after: Place | None) -> list[Mapping[str, Any]]:
        realm = (wanted.tenant, int(wanted.mode), wanted.since)
        rules = None if wanted.rules is None else list(wanted.rules)
        async with self.database.acquire() as connection:
            return list(
                await connection.fetch(
                    _PAGE, *realm, list(wanted.digests), rules, *(after or (None, None)), wanted.limit
                )
            )
