"""Every statement finds its rows by an index, even if it was planned on an empty table.

A plan made on an empty table stays cached; one that scans all devices of a tenant costs seconds per batch at a
million of them.
"""

import re
from collections.abc import Iterator
from types import ModuleType

import asyncpg
import pytest

from libs.storage import embedded
from services.tokens.adapters.postgres import SERVER_SETTINGS, addresses, consents, imports, reads, recipients
from tests.flows.tokens_suite import database_of

# lists in index order are meant to scan; an import's few rows are found by any index
WALKS = {"_LIST", "_GET", "_CANCEL", "_END"}
MODULES = (recipients, addresses, consents, reads, imports)
STATEMENTS = [
    (module, name)
    for module in MODULES
    for name, value in sorted(vars(module).items())
    if name.startswith("_") and name.isupper() and isinstance(value, str) and "$" in value
]


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_plans") as dsn:
        yield dsn


@pytest.mark.parametrize(("module", "name"), STATEMENTS)
async def test_no_statement_walks_through_a_tenant(dsn: str, module: ModuleType, name: str) -> None:
    settings = {"search_path": "tokens", "plan_cache_mode": "force_generic_plan", **SERVER_SETTINGS}
    connection = await asyncpg.connect(dsn, server_settings=settings)
    statement = getattr(module, name)
    count = len((await connection.prepare(statement)).get_parameters())
    await connection.execute(f"prepare planned as {statement}")
    nulls = f"({', '.join(['null'] * count)})" if count else ""
    plan = "\n".join(row[0] for row in await connection.fetch(f"explain execute planned{nulls}"))
    await connection.close()
    assert "Seq Scan" not in plan
    if name not in WALKS:
        assert re.findall(r"Index Cond: \(\(tenant = \S+\) AND \(mode = \S+\)\)", plan) == [], plan
