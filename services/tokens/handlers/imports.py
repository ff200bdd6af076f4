"""Imports: batches as they are read from the wire, each one transaction; never half a row.

No connection is held while we wait for the sender. Committed rows stay when the sender disconnects: sending a file
again changes only what differs, so the way to resume an import is to send it again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.errors import Conflict, DepescheError, Invalid
from libs.telemetry import get_logger
from services.tokens.domain.consents import unknown_topic
from services.tokens.domain.imports import Account, Batch, Refusal, Row
from services.tokens.handlers.acts import Act, action, contended
from services.tokens.handlers.save import Saved, save_recipients
from services.tokens.ports import Tokens, Unit

log = get_logger(__name__)


class SenderGone(DepescheError):
    """The connection ended before the file did."""

    status = 400
    slug = "import-interrupted"
    title = "The file ended too early"


class Cancelled(Conflict):
    """Somebody cancelled the import while it was running."""

    slug = "import-cancelled"
    title = "The import was cancelled"


@dataclass(frozen=True, slots=True)
class Import:
    """One incoming file."""

    id: UUID
    format: str
    batches: AsyncIterator[Batch]


async def import_recipients(deps: Tokens, act: Act, file: Import) -> None:
    """Import the whole file. Raises Conflict if its id is in use, and whatever ended it early."""
    if not await deps.imports.start(act.realm, file.id, (file.format, act.actor), act.now):
        raise Conflict(
            f"An import with the id {file.id} is already running or done; leave the id out to start another."
        )
    account = Account()
    state = "failed"
    try:
        async for batch in file.batches:
            await _take(deps, act, file.id, batch, account)
        state = "done"
    except SenderGone as error:
        state, account.problem = "interrupted", error.detail
        raise
    except DepescheError as error:
        account.problem = error.detail
        raise
    except asyncio.CancelledError:
        state, account.problem = "interrupted", "The service was stopped; rows already counted were imported."
        raise
    finally:
        await _end(deps, act, file.id, state, account)
    log.info("import_done", import_id=str(file.id), rows=account.rows, refused=account.refused)


async def _end(deps: Tokens, act: Act, id_: UUID, state: str, account: Account) -> None:
    """End an import, with its audit record: what it had written stays, however it ended."""
    async with deps.store.transaction() as unit:
        if await unit.end_import(act.realm, id_, state, account):
            after: dict[str, object] = {"state": state, "rows": account.rows}
            await unit.publish([action(act, "recipients.import", str(id_), after)])


async def _take(deps: Tokens, act: Act, id_: UUID, batch: Batch, account: Account) -> None:
    """Write one batch; the rows of one transaction have different recipients, installations and tokens."""
    account.ignored_columns = batch.ignored_columns
    rows, unknown = await _with_topics(deps, act, batch.rows)
    runs = _runs(rows, deps)
    refusals = [*batch.refusals, *unknown]
    account.rows += batch.read - sum(len(run) for run in runs)
    account.refused += len({refusal.row for refusal in refusals})
    account.bytes = batch.bytes
    for run in runs or [[]]:
        await _write(deps, act, id_, _Run(run, refusals), account)
        refusals = []


async def _with_topics(deps: Tokens, act: Act, rows: Sequence[Row]) -> tuple[list[Row], list[Refusal]]:
    """Return the rows whose topics exist, and the refusals of the others. Raises Transient."""
    named = {statement.topic for row in rows for statement in row.change.statements}
    missing = await deps.topics.missing(act.realm, named)
    refusals = [
        Refusal(row.row, row.line, place, unknown_topic(statement.topic, missing[statement.topic]))
        for row in rows
        for statement, place in zip(row.change.statements, row.topics, strict=True)
        if statement.topic in missing
    ]
    refused = {refusal.row for refusal in refusals}
    return [row for row in rows if row.row not in refused], refusals


@dataclass(frozen=True, slots=True)
class _Run:
    rows: Sequence[Row]
    refusals: Sequence[Refusal]


async def _write(deps: Tokens, act: Act, id_: UUID, run: _Run, account: Account) -> None:
    async def transaction() -> Account:
        counted = Account(**{name: getattr(account, name) for name in Account.__slots__})
        async with deps.store.transaction() as unit:
            rows, erased = await _without_erased(unit, act, run.rows)
            saved = await save_recipients(unit, act, [row.change for row in rows], deps.hasher)
            refusals = [*run.refusals, *erased, *_refused(rows, saved)]
            counted.rows += len(erased)
            counted.refused += len(erased)
            _count(counted, saved)
            room = max(0, deps.settings.import_kept_refusals - counted.kept)
            counted.kept += len(refusals[:room])
            await unit.refuse_rows(id_, refusals[:room])
            if not await unit.advance_import(id_, counted):
                raise Cancelled("The import was cancelled; the rows counted in its report were imported.")
        return counted

    counted = await contended(transaction)
    for name in Account.__slots__:
        setattr(account, name, getattr(counted, name))


async def _without_erased(unit: Unit, act: Act, rows: Sequence[Row]) -> tuple[Sequence[Row], list[Refusal]]:
    """Leave out who was erased after the file had begun to arrive: it would bring them back."""
    erased = await unit.erased_since(act.realm, [row.change.key for row in rows], act.now)
    if not erased:
        return rows, []
    why = "This recipient was erased while the file was being imported."
    return (
        [row for row in rows if row.change.key not in erased],
        [Refusal(row.row, row.line, "key", why) for row in rows if row.change.key in erased],
    )


def _count(account: Account, saved: Sequence[Saved]) -> None:
    account.rows += len(saved)
    for item in saved:
        if item.refused is not None:
            account.refused += 1
        elif item.created:
            account.created += 1
        elif item.fields:
            account.changed += 1
        else:
            account.unchanged += 1


def _refused(rows: Sequence[Row], saved: Sequence[Saved]) -> list[Refusal]:
    found = []
    for row, item in zip(rows, saved, strict=True):
        if isinstance(item.refused, Invalid):
            errors = item.refused.errors
            pointer = errors[0].pointer if errors else ""
            found.append(Refusal(row.row, row.line, pointer.strip("/"), item.refused.detail))
    return found


def _runs(rows: Sequence[Row], deps: Tokens) -> list[list[Row]]:
    """Split where a recipient, installation or token repeats: later rows build on the result of earlier ones."""
    runs: list[list[Row]] = []
    seen: set[object] = set()
    for row in rows:
        marks: set[object] = {row.change.key}
        for device in row.change.devices:
            marks |= {("installation", device.installation), device.address.hash(deps.hasher)}
        if not runs or seen & marks:
            runs.append([])
            seen = set()
        runs[-1].append(row)
        seen |= marks
    return runs


async def cancel_import(deps: Tokens, act: Act, id_: UUID) -> None:
    """Cancel a running import; one that has ended does not change."""
    async with deps.store.transaction() as unit:
        if await unit.cancel_import(act.realm, id_):
            await unit.publish([action(act, "recipients.import.cancel", str(id_))])
