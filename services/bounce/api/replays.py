"""Replays over HTTP: what would be barred under other rules or settings."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from libs.errors import Invalid
from libs.paging import BIGINTS, After, Limit, Page, page_of, read_cursor
from libs.web import Router
from services.bounce.api import Reader, Writer, deps_of, period
from services.bounce.api.replay_shapes import ChangeShown, ReplayBody, ReplayShown
from services.bounce.handlers.replays import ask_for_replay, cancel_replay, found
from services.bounce.ports.replays import Asked, ChangeQuery, ReplayRecord

router = Router(prefix="/v1/replays", tags=["rules"])

_LONGEST = timedelta(days=400)
Id = Annotated[UUID, Path(description="From POST replays.")]


@router.post("", status_code=202, summary="Start a replay")
async def start_replay(request: Request, response: Response, principal: Writer, body: ReplayBody) -> ReplayShown:
    """Apply the policy to stored facts again, under other rules, other settings or both, without changing anything.

    It runs in the background: `GET replays/{id}` reports its progress. The result is compared with the rules and
    settings in force, both applied to the same facts: the counts per category and provider, and every address that
    would be barred, or no longer.
    """
    deps = deps_of(request)
    now = deps.clock()
    since, until = period(body.since, body.until, now)
    if until - since > _LONGEST:
        raise Invalid(f"A replay covers at most {_LONGEST.days} days.", pointer="/since")
    numbers = body.settings.model_dump(exclude_none=True)
    replay = await ask_for_replay(deps, principal, Asked(since, until, str(body.rules), numbers, body.note))
    response.headers["location"] = f"/bounce/v1/replays/{replay.id}"
    return _shown(replay)


@router.get("", summary="Replays")
async def list_replays(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[ReplayShown]:
    """List replays, newest first; they are kept for 90 days."""
    after = read_cursor(cursor, datetime, UUID)
    rows = await deps_of(request).replays.page((principal.tenant, principal.mode), after, limit + 1)
    return page_of(rows, limit, _shown, lambda row: (row.created_at, row.id))


@router.get("/{id}", summary="A replay")
async def get_replay(request: Request, principal: Reader, id: Id) -> ReplayShown:
    """Return a replay's progress and result."""
    return _shown(await found(deps_of(request), principal, id))


@router.get("/{id}/changes", summary="A replay's changes")
async def list_changes(
    request: Request,
    principal: Reader,
    id: Id,
    appears: Annotated[bool | None, Query(description="true: would be barred; false: no longer would be.")] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[ChangeShown]:
    """List every address whose suppression would appear or vanish, with the server's words; also during the run."""
    deps = deps_of(request)
    await found(deps, principal, id)
    (after,) = read_cursor(cursor, int, below=BIGINTS) or (0,)
    rows = await deps.replays.changes(ChangeQuery(id, limit + 1, after, appears))
    return page_of(rows, limit, _change, lambda row: (row["ordinal"],))


def _change(row: Mapping[str, Any]) -> ChangeShown:
    names = ("appears", "scope", "recipient", "at", "provider", "text", "was", "becomes")
    return ChangeShown(
        **{name: row[name] for name in names},
        number=row["ordinal"],
        bounce=row["bounce_id"],
        address_hash=row["address_hash"].hex(),
    )


@router.post("/{id}:cancel", summary="Stop a replay")
async def cancel(request: Request, principal: Writer, id: Id) -> ReplayShown:
    """Stop it after the current batch; one that has ended stays as it is."""
    return _shown(await cancel_replay(deps_of(request), principal, id))


def _shown(replay: ReplayRecord) -> ReplayShown:
    fields = {name: getattr(replay, name) for name in ReplayShown.model_fields if name != "asked"}
    return ReplayShown(**fields, asked=asdict(replay.asked))
