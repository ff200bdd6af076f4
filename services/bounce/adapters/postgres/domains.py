"""Domains that were said to have no mail: asked for, barred with their addresses, let go again."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.bounce.domain.judging import Judged
from services.bounce.domain.policy import Waits

# asked at once, whatever is known: that answer is from before this refusal
_ASK = """
insert into domain as d (name, due_at, since) select name, $2, $2 from unnest($1::text[]) as i (name) order by name
on conflict (name) do update set due_at = least(d.due_at, $2)
"""


async def ask(connection: Any, judged: Iterable[Judged], now: datetime) -> None:
    """Has the domains asked for that verdicts wait for."""
    names = {item.verdict.asks for item in judged if isinstance(item.verdict, Waits) and item.verdict.asks}
    if names:
        await connection.execute(_ASK, sorted(names), now)
