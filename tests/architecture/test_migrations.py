"""Migrations after the first release run beside the previous version: none may rewrite a table, block writers while
it scans one, or break statements still in use. Squawk has the rules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from libs.storage.migrations import COMMON, OUTSIDE
from services.__main__ import migration_folders

ROOT = Path(__file__).parents[2]
SQUAWK = Path(sys.executable).with_name("squawk")
# The first release's schema meets no traffic.
FIRST = {
    "common": {"0001_common"},
    "access": {"0001_access"},
    "bounce": {"0001_bounce", "0002_verdicts", "0003_policy"},
    "delivery": {"0001_ledger", "0002_reply"},
    "history": {"0001_history", "0002_search"},
    "orders_notification": {"0001_intake", "0002_communications"},
    "templates": {"0001_templates"},
    "tokens": {"0001_recipients"},
}
NOT_OURS = {
    "require-lock-timeout": "libs/storage/migrations.py sets it for every file",
    "require-statement-timeout": "a new table's first rows may take their time; what waits for a lock is cut off",
    "prefer-bigint-over-smallint": "small numbers are a third of the ledger's width",
    "prefer-bigint-over-int": "the same",
}
FILES = [
    (schema, path)
    for schema, folder in {"common": COMMON, **migration_folders()}.items()
    for path in sorted(folder.glob("*.sql"))
]


def complaints(path: Path, text: str | None = None) -> set[str]:
    """The rules that a file violates."""
    sql = text or path.read_text(encoding="utf-8")
    words = [str(SQUAWK), "--reporter", "json", "--pg-version", "15", "--exclude", ",".join(NOT_OURS)]
    if not sql.startswith(OUTSIDE):
        words.append("--assume-in-transaction")
    ended = subprocess.run([*words, "--stdin-filepath", path.name], input=sql, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.strip(), ended.stderr
    return {found["rule_name"] for found in json.loads(ended.stdout)}


@pytest.mark.parametrize(("schema", "path"), FILES, ids=lambda value: getattr(value, "stem", value))
def test_a_migration_can_run_beside_the_previous_version(schema: str, path: Path) -> None:
    if path.stem in FIRST[schema]:
        assert "syntax-error" not in complaints(path)
        return
    assert complaints(path) == set()


def test_the_first_release_lists_only_existing_files() -> None:
    assert {(schema, name) for schema, names in FIRST.items() for name in names} <= {
        (schema, path.stem) for schema, path in FILES
    }


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("alter table message add column note text not null;", "adding-required-field"),
        ("alter table message alter column attempt type bigint;", "changing-column-type"),
        ("alter table message add column mark uuid default gen_random_uuid();", "adding-field-with-default"),
        ("alter table message alter column locale set not null;", "adding-not-nullable-field"),
        ("create index on message (reason);", "require-concurrent-index-creation"),
        ("alter table message add constraint few check (attempt < 9);", "constraint-missing-not-valid"),
        ("alter table message drop column detail;", "ban-drop-column"),
        ("alter table message rename column status to state;", "renaming-column"),
        (
            "create table later (); create index concurrently if not exists x on message (reason);",
            "ban-concurrent-index-creation-in-transaction",
        ),
    ],
)
def test_statements_that_block_traffic_are_found(sql: str, rule: str) -> None:
    assert rule in complaints(Path("0099_planted.sql"), sql)


@pytest.mark.parametrize(
    "sql",
    [
        "create table later (id bigint primary key, kind smallint not null); create index on later (kind);",
        "alter table message add column note text;",
        "alter table message add column kind smallint not null default 0;",
        f"{OUTSIDE}\ncreate index concurrently if not exists message_reason on message (reason);",
    ],
)
def test_statements_safe_beside_traffic_pass(sql: str) -> None:
    assert complaints(Path("0099_planted.sql"), sql) == set()
