"""The operator's page lists every alarm, secret and overlay."""

import re
from pathlib import Path

import yaml

from tests.architecture.test_operations import alerts
from tests.contracts.test_kubernetes import VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")


def test_each_alarm_has_a_row_with_urgency_and_action() -> None:
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


def test_referenced_files_and_pages_exist() -> None:
    links = re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", PAGE)
    assert links
    named = re.findall(r"`((?:k8s|compose|dapr)/[\w./-]+)`", PAGE)
    assert len(named) > 5
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_settings_for_operators_are_marked_in_both_overlays() -> None:
    for overlay in ("staging", "prod"):
        folder = ROOT / "k8s" / "overlays" / overlay
        text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.yaml"))
        assert text.count("# yours") >= 3
