"""The catalogue's version, and the part of the catalogue that intake itself owns (event types)."""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.contracts.outcomes import Mode
from libs.storage.database import Database

_VERSIONS = "select tenant, mode, version from catalogue"
_BUMP = """
insert into catalogue (tenant, mode, version) values ($1, $2, 1)
on conflict (tenant, mode) do update set version = catalogue.version + 1
"""


async def bump(connection: Any, tenant: int, mode: Mode) -> None:
    """Signal intake that its decision data changed; call it in the transaction that changes them."""
    await connection.execute(_BUMP, tenant, int(mode))


class PostgresCatalogueVersions:
    """Reads all versions in one query: there is one row per tenant and mode."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self) -> Mapping[tuple[int, int], int]:
        async with self._database.acquire() as connection:
            rows: Sequence[Any] = await connection.fetch(_VERSIONS)
        return {(row["tenant"], row["mode"]): row["version"] for row in rows}
