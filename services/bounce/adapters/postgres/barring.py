"""Changes of suppressions by people: placed by hand, lifted, undone in bulk."""

from dataclasses import dataclass
from uuid import UUID

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import NotFound
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.bounce.adapters.postgres.lifting import count_changes
from services.bounce.adapters.postgres.suppressions import changed, locked, place_all, put_all, to_suppression
from services.bounce.adapters.postgres.undoing import preview, undo_batch
from services.bounce.domain.suppressions import Evidence, Suppression
from services.bounce.domain.undoing import Selection, Undo, Undone
from services.bounce.ports import Change, Preview

APP_ID = "bounce"

_LOCK_ID = "select * from suppression where tenant = $1 and mode = $2 and id = $3 and version > 0 for update"


@dataclass(frozen=True, slots=True)
class PostgresSuppressions:
    database: Database

    async def place(self, evidence: Evidence, action: ActionRecorded) -> Suppression:
        """Bar by hand; return the existing suppression if the address is barred already."""
        async with self.database.transaction() as connection:
            for placed in (await place_all(connection, [evidence])).all:
                await append(connection, [changed(placed), _action(placed, action)])
                return placed
            return await locked(connection, evidence.key)

    async def lift(self, tenant: int, mode: Mode, suppression: UUID, change: Change) -> Suppression:
        """Apply `change` to the locked suppression. Raises NotFound, and what `change` raises."""
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(_LOCK_ID, tenant, mode, suppression)
            if row is None:
                raise NotFound(f"There is no suppression {suppression}; `depesche suppressions list` lists them.")
            lifted, action = change(to_suppression(row))
            await put_all(connection, [lifted])
            await count_changes(connection, [lifted], lifted.changed_at, lifted=1)
            await append(connection, [changed(lifted), _action(lifted, action)])
            return lifted

    async def undo(self, wanted: Selection, undo: Undo) -> Undone:
        """Undo one batch, with its audit entry; falsy when nothing is left."""
        async with self.database.transaction() as connection:
            return await undo_batch(connection, wanted, undo)

    async def preview(self, wanted: Selection, examples: int) -> Preview:
        """Return what an undo would change."""
        async with self.database.snapshot() as connection:
            counts, groups, rows = await preview(connection, wanted, examples)
        return Preview(counts, [dict(row) for row in groups], [(to_suppression(row), row["said"]) for row in rows])


def _action(item: Suppression, action: ActionRecorded) -> Outgoing:
    return Outgoing(action, str(item.id), item.key.tenant, item.key.mode, source=APP_ID)
