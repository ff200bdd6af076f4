"""The doctor's checks of the stores beside Postgres: whether they answer, and have what history needs."""

import asyncio
from typing import Any

from cli.findings import Finding
from libs.errors import DepescheError, Unavailable

_SECONDS = 5.0
_AWAY = "Start it, or check its address. Nothing is lost: its data waits in Postgres in the meantime."
_DIFFERS = "The worker of history fixes it at its next start, if permitted; otherwise apply opensearch/ manually."
_SPILL = (
    "select coalesce(sum(documents) filter (where refused is null), 0), count(*) filter (where refused is not null)"
)


async def stores() -> list[Finding]:
    """Return one finding for each store that the settings name."""
    from libs.settings import load
    from libs.suite import load_suite, settings_file
    from services.history.app import checks_of
    from services.history.settings import HistorySettings

    settings = load(HistorySettings, settings_file(load_suite().data_dir))
    async with checks_of(settings) as checks:
        return [await _looked_at(name, check) for name, check in checks.items()]


async def _looked_at(name: str, check: Any) -> Finding:
    try:
        async with asyncio.timeout(_SECONDS):
            differs = await check()
    except (Unavailable, TimeoutError) as error:
        said = error.detail if isinstance(error, DepescheError) else f"no answer in {_SECONDS:g} s"
        return Finding(name, "warning", said, _AWAY)
    return Finding(name, "warning", differs, _DIFFERS) if differs else Finding(name, "ok", "answers, correctly set up")


async def spill(connection: Any) -> Finding:
    """Report what waits for OpenSearch, and what it rejects."""
    waiting, refused = await connection.fetchrow(f"{_SPILL} from history.spill")
    if refused:
        advice = "history.spill says why, in `refused`. Fix the cause, then set the column to null."
        return Finding("audit's spill", "wrong", f"{refused} batches are permanently rejected", advice)
    if waiting:
        advice = "They are written once OpenSearch answers and a worker of history runs."
        return Finding("audit's spill", "warning", f"{waiting} records wait for OpenSearch", advice)
    return Finding("audit's spill", "ok", "nothing is waiting")
