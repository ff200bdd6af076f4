"""Ends suppressions: by a person, one or many, by the breaker, or because a domain is back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.bounce.adapters.postgres.figures import add_figures
from services.bounce.adapters.postgres.suppressions import put_all
from services.bounce.domain.figures import Figures, Kind
from services.bounce.domain.suppressions import Suppression, lift, withdraw

_KINDS = "select id, from_domain, communication from bounce where id = any($1::uuid[])"


@dataclass(frozen=True, slots=True)
class Lift:
    """Who lifts, when and why. `withdrawn`: nobody does; the evidence no longer exists."""

    at: datetime
    actor: str
    note: str
    withdrawn: bool = False


async def lift_all(connection: Any, locked: Sequence[Suppression], how: Lift) -> list[Suppression]:
    """End active suppressions whose rows are locked."""
    end = withdraw if how.withdrawn else lift
    lifted = [end(item, at=how.at, actor=how.actor, note=how.note) for item in locked]
    await put_all(connection, lifted)
    return lifted


async def count_changes(connection: Any, changed: Sequence[Suppression], at: datetime, **counts: int) -> None:
    """Count suppressions that began or ended, under the dimensions of the fact behind them; last of all.

    One that a person placed has no fact and was not counted when it began, so neither is its end."""
    changed = [item for item in changed if item.bounce_id]
    if not changed:
        return
    ids = [item.bounce_id for item in changed]
    known = {row["id"]: (row["from_domain"], row["communication"]) for row in await connection.fetch(_KINDS, ids)}
    figures = Figures()
    for item in changed:
        names = known.get(item.bounce_id, ("", ""))
        kind = Kind(item.key.tenant, item.key.mode, item.cause.category, item.cause.provider, *names)
        figures.add(kind, at, **counts)
    await add_figures(connection, figures)
