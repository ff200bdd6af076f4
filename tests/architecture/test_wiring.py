"""The wiring is complete: every route has one guard, every event a publisher and a schema, every table an owner."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from libs.contracts import (
    access,
    audit,
    bounce,
    delivery,
    orders_notification,
    templates,
    tokens,
)
from libs.contracts.envelope import EVENTS
from libs.contracts.reasons import TEXTS, Reason
from libs.keyring import Keyring
from libs.openapi import guards_of, routes_of
from libs.service import Service
from libs.suite import SuiteSettings
from services.__main__ import ROLES, SERVICES, build, document, migration_folders

ROOT = Path(__file__).parents[2]
DECLARING = (access, audit, bounce, delivery, orders_notification, templates, tokens)


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return build(SuiteSettings(), Keyring(bytes(32)))


def routes(services: dict[str, Service]) -> list[tuple[str, APIRoute]]:
    return [
        (f"{name} {sorted(route.methods)} {route.path}", route)
        for name, service in services.items()
        for route in routes_of(service.app)
    ]


def test_every_route_declares_exactly_one_guard(services: dict[str, Service]) -> None:
    assert len(routes(services)) > 80
    wrong = {name: [g.kind for g in guards_of(route)] for name, route in routes(services) if len(guards_of(route)) != 1}
    assert wrong == {}


def test_every_route_lives_under_a_version(services: dict[str, Service]) -> None:
    stray = [
        name
        for name, route in routes(services)
        if not route.path.startswith("/v1/") and not route.path.startswith("/health")
    ]
    assert stray == []


def test_every_operation_has_a_summary_and_an_example(services: dict[str, Service]) -> None:
    made = document(services, "http://127.0.0.1:8700")
    bare = []
    for path, operations in made["paths"].items():  # type: ignore[attr-defined]
        for verb, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {})
            if not operation.get("summary") or not all(_shown(made, media) for media in body.values()):
                bare.append(f"{verb} {path}")
    assert bare == []


def _shown(made: object, media: dict[str, object]) -> bool:
    if "example" in media or "examples" in media:
        return True
    schema = media.get("schema", {})
    assert isinstance(schema, dict)
    if reference := schema.get("$ref"):
        schema = made["components"]["schemas"][reference.rpartition("/")[2]]  # type: ignore[index]
    fields = schema.get("properties", {})
    return bool(
        "example" in schema
        or "examples" in schema
        or (fields and all("example" in f or "examples" in f for f in fields.values()))
    )


def test_every_subscription_names_a_declared_event(services: dict[str, Service]) -> None:
    undeclared = {
        name: [event.__name__ for event in service.subscriptions if EVENTS.get(event.TYPE) is not event]
        for name, service in services.items()
    }
    assert not any(undeclared.values())


def test_every_event_has_a_publishing_service(services: dict[str, Service]) -> None:
    homeless = [e.TYPE for e in EVENTS.values() if e.SOURCE not in services and e is not audit.ActionRecorded]
    assert homeless == []


def test_history_subscribes_to_every_event_it_can_use(services: dict[str, Service]) -> None:
    # requests carry variables, and the account is in the transitions; neither adds anything about a message
    left_out = {
        "notification.requested",
        "request.settled",
        "template.published",
        "topic.changed",
        "tenant.changed",
        "release.published",
    }
    heard = {event.TYPE for event in services["history"].subscriptions}
    assert set(EVENTS) - heard <= left_out


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_handlers_and_loops_end_with_their_table(name: str) -> None:
    package = ROOT / "services" / name.replace("-", "_")
    for stem, table in (("handlers", "SUBSCRIPTIONS"), ("loops", "LOOPS")):
        path = package / f"{stem}.py"
        path = path if path.exists() else package / stem / "__init__.py"
        if path.exists() and table in (source := path.read_text()):
            last = ast.parse(source).body[-1]
            assert isinstance(last, ast.Assign | ast.AnnAssign)
            assert table in ast.unparse(last)


@pytest.mark.parametrize("name", sorted([*SERVICES, "simulator"]))
def test_every_service_has_its_card(name: str) -> None:
    card = ROOT / "services" / name.replace("-", "_") / "README.md"
    assert card.is_file()
    assert len(card.read_text().splitlines()) > 8


def test_a_service_alone_loads_no_other_services_code() -> None:
    code = (
        "import sys; from services.__main__ import SERVICES; from libs.suite import runtime_from, SuiteSettings; "
        "from libs.keyring import Keyring; "
        "SERVICES['access'](runtime_from(SuiteSettings(), Keyring(bytes(32)), None)); "
        "print({name.split('.')[1] for name in sys.modules if name.startswith('services.')} - {'__main__'})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "{'access'}"


def test_no_service_names_anothers_schema() -> None:
    schemas = set(migration_folders())
    for schema in schemas:
        others = "|".join(sorted(schemas - {schema}))
        pattern = re.compile(rf"\b(?:from|join|into|update|table)\s+({others})\.\w", re.IGNORECASE)
        for path in (ROOT / "services" / schema).rglob("*"):
            if path.suffix in (".py", ".sql"):
                assert pattern.findall(path.read_text()) == [], path


_SESSION = re.compile(
    r"(?:\A|;)\s*(?:set (?!local )\w+ ?(?:=|to )|reset \w+ *(?:;|\Z)|(?:un)?listen \w+ *(?:;|\Z)|prepare \w+ as|"
    r"discard all|deallocate|create temp|select pg_(?:try_)?advisory_lock|declare \w+ .*with hold)"
)


def test_no_statement_relies_on_session_state() -> None:
    """Behind a pooler the next statement may use another connection: see docs/adr/0161."""
    assert _SESSION.search("set lock_timeout = '2s'; select 1")
    assert not _SESSION.search("set local lock_timeout = '2s'; update x set a = 1")
    for room in ("libs", "services"):
        for path in (ROOT / room).rglob("*.py"):
            if path.name == "migrations.py":
                continue  # connects to the server itself
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not _SESSION.search(node.value), (path, node.value)


def test_every_reason_has_a_sentence_and_numbers_are_unique() -> None:
    assert set(TEXTS) == set(Reason)
    assert all(t.sentence.endswith((".", "}")) and t.next_step.endswith(".") for t in TEXTS.values())
    assert len({int(r) for r in Reason}) == len(Reason.__members__)


def test_ports_across_services_take_lists(services: dict[str, Service]) -> None:
    resolve = document(services, "x")["paths"]["/tokens/v1/recipients:resolve"]["post"]  # type: ignore[index]
    assert "keys" in str(resolve)


def test_every_loop_runs_in_exactly_one_process_of_up(services: dict[str, Service]) -> None:
    loops = {name for service in services.values() for name in service.loops} | {"relay", "relay-later", "figures"}
    assert "send-bulk" in loops  # the roles name it
    for name in loops:
        assert [role for role in ("worker", "bulk") if ROLES[role](name)] in (["worker"], ["bulk"])
        assert ROLES["all"](name)
