"""Links to trace pages: intake stores the trace of each cause."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from libs.errors import DepescheError
from libs.telemetry import get_logger
from services.history.ports import Asker, History

log = get_logger(__name__)


async def trace_links(deps: History, asker: Asker, causes: Iterable[UUID | None]) -> Mapping[UUID, str]:
    """Return URLs by cause, where a trace page is configured and intake is available and knows the trace."""
    wanted = sorted({cause for cause in causes if cause is not None})
    if not deps.trace_url or not wanted:
        return {}
    try:
        known = await deps.intake.trace_ids(asker, wanted)
    except DepescheError as error:
        log.warning("trace_links_missing", error=error.detail)
        return {}
    return {cause: deps.trace_url.replace("{trace_id}", trace) for cause, trace in known.items()}
