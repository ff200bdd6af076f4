"""The page about personal data names every table with its end, and the ends exist."""

import re
from pathlib import Path

import asyncpg

from libs.suite import SuiteSettings
from tests.architecture.test_operations import settings

PAGE = Path(__file__).parents[2] / "docs" / "personal-data.md"
# partitions, and what the migrations keep about themselves, are left out
_TABLES = """
select nspname as schema, relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'p') and not relispartition and nspname not like 'pg_%'
  and nspname not in ('information_schema', 'public') and relname <> 'migration'
"""
_ROW = re.compile(r"^\| `(\w+|\*)\.(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
_KNOWN_ENDS = (
    "erasure", "none", "24 hours", "90 days", "when its chunk is recorded", "when no policy looks back that far",
    "when written", "when all subscribers have them", "with the outbox row",
)  # fmt: skip


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


async def test_the_page_names_every_table(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        there = {(row["schema"], row["name"]) for row in await connection.fetch(_TABLES)}
    finally:
        await connection.close()
    rows = {(schema, name) for schema, name, *_ in _ROW.findall(page())}
    common = {name for schema, name in rows if schema == "*"}
    harmless = {
        tuple(one.split(".")) for one in re.findall(r"`(\w+\.\w+)`", page().rpartition("Tables that hold no")[2])
    }
    own = {one for one in there if one[1] not in common}
    assert own == {one for one in rows if one[0] != "*"} | harmless
    assert not rows & harmless
    assert len(common) == len({one[1] for one in there if one[1] in common}) == 5


def test_every_table_with_personal_data_has_an_end_that_exists() -> None:
    names = {f"{one.SECTION}.{name}" for one in settings() for name in one.model_fields}
    names |= {f"DEPESCHE_{name.upper()}" for name in SuiteSettings.model_fields}
    rows = _ROW.findall(page())
    assert len(rows) > 40
    for schema, table, about, end in rows:
        assert about, (schema, table)
        named = re.findall(r"`([^`]+)`", end)
        assert set(named) <= names, (schema, table)
        assert named or any(known in end for known in _KNOWN_ENDS), (schema, table, end)


def test_the_days_on_the_page_are_the_defaults() -> None:
    said = re.search(r"`DEPESCHE_ERASURES_KEPT_DAYS` \((\d+)\)", page())
    assert said
    assert int(said[1]) == SuiteSettings.model_fields["erasures_kept_days"].default
