"""Dapr's files agree with the topology, the contracts, the SUBSCRIPTIONS tables and the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from cli.engines.daprd import ASKED
from libs import probes
from libs.contracts.envelope import EVENTS
from libs.keyring import Keyring
from libs.messaging.dapr import PUBLISH_SECONDS, topic_of
from libs.messaging.delivering import HANDLER_SECONDS
from libs.messaging.routes import MOST_MESSAGES, Intake
from libs.openapi import routes_of
from libs.service import Service
from libs.suite import SuiteSettings
from services.__main__ import build
from services.delivery.settings import DeliverySettings
from services.history.settings import HistorySettings
from services.topology import PROGRAMS, Program
from tests.conftest import SHIPPED_CALL_SECONDS

ROOT = Path(__file__).parents[2]
DAPR = ROOT / "dapr"
BUSES = {name: DAPR / "components" / name / "bus.yaml" for name in ("kafka", "redis")}
PUBSUB = SuiteSettings().pubsub
ON_THE_BUS = [program for program in PROGRAMS if program.subscribes]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def metadata(path: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in read(path)["spec"]["metadata"]}


def scopes(value: str) -> dict[str, set[str]]:
    """Parse scopes as Dapr's pkg/scopes does: blanks are ignored, `app=` allows nothing."""
    pairs = [one.split("=") for one in value.replace(" ", "").split(";") if one]
    return {app: set(filter(None, topics.split(","))) for app, topics in pairs}


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return build(SuiteSettings(), Keyring(bytes(32)))


@pytest.fixture(scope="module")
def resiliency() -> Any:
    return read(DAPR / "resiliency.yaml")["spec"]


def subscribed(program: Program, services: dict[str, Service]) -> list[dict[str, Any]]:
    """The topics that the program's sidecar must deliver."""
    service = services[program.service]
    assert service.database is not None
    return Intake(service.name, service.database, service.subscribers()).subscriptions(PUBSUB)


def emits_actions(service: str) -> bool:
    folder = ROOT / "services" / service.replace("-", "_")
    return any("ActionRecorded(" in path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))


def published(program: Program, services: dict[str, Service]) -> set[str]:
    topics = {event.topic() for event in EVENTS.values() if program.service == event.SOURCE}
    if emits_actions(program.service):
        topics.add(topic_of("action.recorded"))
    return topics | {one["deadLetterTopic"] for one in subscribed(program, services)}


@pytest.mark.parametrize("bus", BUSES)
def test_the_bus_is_scoped_to_programs_that_publish_or_subscribe(bus: str) -> None:
    component = read(BUSES[bus])
    assert component["metadata"]["name"] == PUBSUB
    assert component["spec"]["type"] == f"pubsub.{bus}"
    assert component["scopes"] == [program.app_id for program in ON_THE_BUS]
    assert len({program.app_id for program in PROGRAMS}) == len(PROGRAMS)


@pytest.mark.parametrize("bus", BUSES)
def test_each_program_may_publish_and_subscribe_exactly_its_contracts_topics(
    bus: str, services: dict[str, Service]
) -> None:
    given = metadata(BUSES[bus])
    hears = {one.app_id: {wanted["topic"] for wanted in subscribed(one, services)} for one in ON_THE_BUS}
    assert scopes(given["subscriptionScopes"]["value"]) == hears
    assert scopes(given["publishingScopes"]["value"]) == {one.app_id: published(one, services) for one in ON_THE_BUS}


def test_every_topic_has_a_schema_a_publisher_and_a_dead_letter_topic(services: dict[str, Service]) -> None:
    known = {event.topic() for event in EVENTS.values()}
    heard: set[str] = set()
    for program in ON_THE_BUS:
        wanted = subscribed(program, services)
        dead = f"{program.service}.dead"
        assert {one["deadLetterTopic"] for one in wanted} <= {dead}
        assert {one["topic"] for one in wanted} - known <= {dead}
        assert all(one["bulkSubscribe"]["maxMessagesCount"] == MOST_MESSAGES for one in wanted)
        heard |= {one["topic"] for one in wanted}
    sent = {topic for program in ON_THE_BUS for topic in published(program, services)}
    assert heard <= sent
    assert known <= sent


@pytest.mark.parametrize("bus", BUSES)
def test_a_consumer_group_is_a_program(bus: str) -> None:
    given = metadata(BUSES[bus])
    assert given["consumerID"]["value"] == "{appID}"
    assert "consumerGroup" not in given


def test_kafka_reads_from_the_oldest_waits_for_all_replicas_and_fits_events() -> None:
    given = metadata(BUSES["kafka"])
    assert given["initialOffset"]["value"] == "oldest"
    assert given["producerRequiredAcks"]["value"] == "all"
    largest = build(SuiteSettings(), Keyring(bytes(32)))["orders-notification"].deps.limits.event_bytes
    assert int(given["maxMessageBytes"]["value"]) > 2 * largest


def test_redis_fills_its_batches_and_never_redelivers_events_in_flight(resiliency: Any) -> None:
    given = metadata(BUSES["redis"])
    assert int(given["concurrency"]["value"]) >= MOST_MESSAGES
    assert int(given["queueDepth"]["value"]) >= int(given["concurrency"]["value"])
    assert seconds(given["processingTimeout"]["value"]) > budget(resiliency)


def budget(resiliency: Any) -> float:
    """The longest time in seconds that all attempts of one delivery take."""
    names = resiliency["targets"]["components"][PUBSUB]["inbound"]
    retry = resiliency["policies"]["retries"][names["retry"]]
    assert retry["policy"] == "constant"
    tries = retry["maxRetries"] + 1
    each = seconds(resiliency["policies"]["timeouts"][names["timeout"]])
    return tries * each + retry["maxRetries"] * seconds(retry["duration"])


def test_deliveries_are_retried_a_few_times_and_long_enough(resiliency: Any) -> None:
    names = resiliency["targets"]["components"][PUBSUB]
    inbound, outbound = names["inbound"], names["outbound"]
    assert resiliency["policies"]["retries"][inbound["retry"]]["maxRetries"] > 0
    assert seconds(resiliency["policies"]["timeouts"][inbound["timeout"]]) > HANDLER_SECONDS
    assert seconds(resiliency["policies"]["timeouts"][outbound["timeout"]]) < PUBLISH_SECONDS
    # docs/adr/0120: an open breaker would resend redelivered events again and again
    assert {"circuitBreaker"}.isdisjoint({*inbound, *outbound})


def test_a_sidecar_detects_an_unavailable_subscriber_before_retries_end(
    resiliency: Any, services: dict[str, Service]
) -> None:
    """Otherwise the batch in flight would circulate on the dead-letter topic: docs/adr/0122."""
    retry = resiliency["policies"]["retries"][resiliency["targets"]["components"][PUBSUB]["inbound"]["retry"]]
    least = retry["maxRetries"] * seconds(retry["duration"])  # where nobody listens, an attempt takes no time
    threshold = 3  # Dapr's own; a failure is detected at the latest when the next probe would have been due
    assert int(ASKED["app-health-probe-timeout"]) <= 1000 * int(ASKED["app-health-probe-interval"])
    assert int(ASKED["app-health-probe-interval"]) * threshold < least
    probed = {route.path for route in probes.health.routes if isinstance(route, APIRoute)}
    assert ASKED["app-health-check-path"] in probed
    for program in ON_THE_BUS:
        # a program that subscribes and is also called would be cut off from its callers
        assert program.only_works == bool(services[program.service].subscriptions), program.app_id


def test_every_called_service_has_a_timeout_retries_and_a_breaker(resiliency: Any) -> None:
    called = {path for _, path in calls()}
    assert called == {path for paths in allowed().values() for _, path in paths} - {"/v1/keys:verify"}
    apps = resiliency["targets"]["apps"]
    callers_wait = max(
        SHIPPED_CALL_SECONDS,
        DeliverySettings().resolve_timeout_seconds,
        HistorySettings().ask_seconds,
    )
    assert set(apps) == {"access", "templates", "orders-notification", "tokens", "delivery"}
    for name, policies in apps.items():
        assert seconds(resiliency["policies"]["timeouts"][policies["timeout"]]) >= callers_wait
        retry = resiliency["policies"]["retries"][policies["retry"]]
        assert 0 < retry["maxRetries"] * seconds(retry["duration"]) < 1
        assert not re.search(r"\b[1-4]\d\d\b", retry["matching"]["httpStatusCodes"])
        # to Dapr a 401 is a failure: with a breaker, wrong keys would lock everybody out
        assert ("circuitBreaker" in policies) == (name != "access")


def test_every_policy_is_used_and_every_used_policy_exists(resiliency: Any) -> None:
    kinds = {"timeout": "timeouts", "retry": "retries", "circuitBreaker": "circuitBreakers"}
    targets = [*resiliency["targets"]["apps"].values()]
    targets += [way for one in resiliency["targets"]["components"].values() for way in one.values()]
    for word, kind in kinds.items():
        assert {one[word] for one in targets if word in one} == set(resiliency["policies"][kind])


def calls() -> Iterator[tuple[str, str]]:
    """Service and path of each call to another service in the code; `*` stands for a parameter."""
    for path in (ROOT / "services").glob("*/adapters/**/*.py"):
        service = path.relative_to(ROOT / "services").parts[0].replace("_", "-")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from ((service, found) for found in map(_path, node.args) if found.startswith("/v1/"))


def _path(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def allowed() -> dict[str, set[tuple[str, str]]]:
    """Verb and path of what each program may call."""
    control = read(DAPR / "configuration.yaml")["spec"]["accessControl"]
    assert control["defaultAction"] == "deny"
    found = {}
    for policy in control["policies"]:
        assert policy["defaultAction"] == "deny"
        assert policy["trustDomain"] == control["trustDomain"]
        assert all(one["action"] == "allow" for one in policy["operations"])
        found[policy["appId"]] = {(verb, one["name"]) for one in policy["operations"] for verb in one["httpVerb"]}
    return found


def test_each_program_may_call_exactly_what_its_service_calls() -> None:
    made = set(calls())
    assert len(made) >= 9
    for program in PROGRAMS:
        wanted = {path for service, path in made if service == program.service}
        if program.service != "access":  # every port asks access to verify the key it was given
            wanted.add("/v1/keys:verify")
        assert {path for _, path in allowed().get(program.app_id, set())} == wanted, program.app_id


def test_every_allowed_call_is_a_route_of_one_service(services: dict[str, Service]) -> None:
    for verb, path in {one for operations in allowed().values() for one in operations}:
        shape = re.compile(re.escape(path).replace(r"\*", r"\{\w+\}"))
        serving = [
            name
            for name, service in services.items()
            for route in routes_of(service.app)
            if shape.fullmatch(route.path) and verb in route.methods
        ]
        assert len(serving) == 1, (verb, path, serving)


def test_secrets_come_from_the_one_store_and_no_file_holds_any() -> None:
    store = read(DAPR / "secrets.yaml")
    assert store["spec"]["type"] == "secretstores.local.env"
    for path in BUSES.values():
        assert read(path)["auth"]["secretStore"] == store["metadata"]["name"]
        for name, one in metadata(path).items():
            if re.search(r"password|username|key|cert|secret", name, re.IGNORECASE):
                assert set(one) == {"name", "secretKeyRef"}, name
                assert one["secretKeyRef"]["name"] == one["secretKeyRef"]["key"]  # the store looks up by this key
    closed = read(DAPR / "configuration.yaml")["spec"]["secrets"]["scopes"]
    assert {"storeName": "secrets", "defaultAccess": "deny"} in closed


def test_the_page_names_every_variable_the_files_reference() -> None:
    page = (DAPR / "README.md").read_text(encoding="utf-8")
    for path in BUSES.values():
        for one in metadata(path).values():
            variable = one.get("envRef") or one.get("secretKeyRef", {}).get("name")
            if variable:
                assert variable in page or f"…_{variable.removeprefix('DEPESCHE_KAFKA_')}" in page


def test_a_sidecar_samples_every_trace_and_enables_only_what_is_used() -> None:
    spec = read(DAPR / "configuration.yaml")["spec"]
    assert spec["tracing"]["samplingRate"] == "1"
    assert {rule["name"] for rule in spec["api"]["allowed"]} == {"publish", "invoke", "metadata", "shutdown"}
    assert read(DAPR / "without-mtls.yaml")["spec"] == {"accessControl": {"defaultAction": "allow"}}
