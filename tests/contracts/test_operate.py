"""The operator's page lists every alarm, secret and overlay that there is, and what it promises of migrations holds."""

import re
from pathlib import Path

import pytest
import yaml

from services.__main__ import migration_folders
from tests.architecture.test_operations import alerts
from tests.contracts.test_kubernetes import VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
NARROWING = re.compile(
    r"\bdrop\s+(table|column|schema|type|view)|\brename\b|\balter\s+column\s+\w+\s+(set\s+not\s+null|type|set\s+data)"
    r"|\badd\s+column\s+\w+\s+[^;,]*not\s+null(?![^;,]*default)|\btruncate\b",
    re.IGNORECASE,
)


def test_each_alarm_has_its_row_with_its_urgency_and_what_to_do() -> None:
    rows = re.findall(r"^\| `(Depesche\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [(name, urgency) for name, urgency, *_ in rows] == [
        (rule["alert"], rule["labels"]["severity"]) for rule in alerts()
    ]
    assert all(len(first.strip()) > 5 and len(then.strip()) > 5 for *_, first, then in rows)


def test_each_secret_of_an_installation_is_explained() -> None:
    text = (ROOT / "k8s/components/external-secrets/secrets.yaml").read_text(encoding="utf-8")
    for one in yaml.safe_load_all(text):
        assert f"`{one['metadata']['name']}`" in PAGE
    assert f"| Kubernetes | {VERSION} or newer |" in PAGE


def test_files_and_pages_that_are_named_are_there() -> None:
    links = re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", PAGE)
    assert links
    named = re.findall(r"`((?:k8s|compose|dapr)/[\w./-]+)`", PAGE)
    assert len(named) > 5
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_is_yours_to_set_is_marked_in_both_overlays() -> None:
    for overlay in ("staging", "prod"):
        folder = ROOT / "k8s" / "overlays" / overlay
        text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.yaml"))
        assert text.count("# yours") >= 3


def test_migrations_after_the_first_only_add_so_that_the_version_before_runs_beside_them() -> None:
    later = [path for folder in migration_folders().values() for path in folder.glob("*.sql") if path.name > "0002"]
    assert later
    assert [path.name for path in later if NARROWING.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "statement",
    [
        "alter table request drop column lane", "drop table request", "alter table request rename to requests",
        "alter table a alter column b set not null", "alter table a alter column b type text",
        "alter table a add column b int not null",
    ],
)  # fmt: skip
def test_what_would_break_the_version_before_is_seen(statement: str) -> None:
    assert NARROWING.search(statement)
    assert not NARROWING.search("alter table a add column b int not null default 0; create index on a (b)")
