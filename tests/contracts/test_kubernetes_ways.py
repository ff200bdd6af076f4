"""Network policies of the cluster, what scales workers, and what Prometheus and the collector read."""

from typing import Any

import promql_parser
import pytest
import yaml

from libs.contracts.outcomes import Status
from services.topology import PROGRAMS
from tests.architecture.test_operations import declared, selectors
from tests.contracts import rendered as k8s
from tests.contracts.rendered import OVERLAYS, ROOT

WORLD = {"ipBlock"}


def labels(overlay: str, name: str) -> dict[str, str]:
    found: dict[str, str] = k8s.workloads(overlay)[name]["metadata"]["labels"]
    return found


def ways(overlay: str, name: str, direction: str) -> list[tuple[Any, frozenset[int]]]:
    """(peer or None for anybody, ports) that the policies selecting this pod open."""
    side = {"egress": "to", "ingress": "from"}[direction]
    found = []
    for policy in k8s.of_kind(overlay, "NetworkPolicy").values():
        if k8s.selects(policy["spec"]["podSelector"], labels(overlay, name)):
            assert direction not in policy["spec"] or direction.title() in policy["spec"]["policyTypes"]
            for rule in policy["spec"].get(direction, ()):
                ports = frozenset(port["port"] for port in rule["ports"])
                found += [(peer, ports) for peer in rule.get(side) or [None]]
    return found


def ports_of(overlay: str, name: str, direction: str, kind: str) -> set[int]:
    return {port for peer, ports in ways(overlay, name, direction) if peer and kind in peer for port in ports}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traffic_is_denied_by_default(overlay: str) -> None:
    closed = k8s.of_kind(overlay, "NetworkPolicy")["closed"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_callers_reach_out_of_the_cluster_and_never_to_private_addresses(overlay: str) -> None:
    outside = {name for name in k8s.workloads(overlay) if ports_of(overlay, name, "egress", "ipBlock")}
    assert outside == {
        "delivery-worker",
        "delivery-bulk",
        "bounce",
        "bounce-worker",
    }  # bounce: webhooks and their test calls
    for peer, ports in ways(overlay, "delivery-worker", "egress"):
        if "ipBlock" in peer:
            assert ports == {25, 443, 465, 587}
            closed = set(peer["ipBlock"]["except"])
            assert closed >= {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} or closed >= {
                "fc00::/7"
            }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_bounce_accepts_mail_and_only_apis_get_ingress(overlay: str) -> None:
    anybody = {
        name for name in k8s.workloads(overlay) if any(peer is None for peer, _ in ways(overlay, name, "ingress"))
    }
    assert anybody == {"bounce-worker"}
    assert [ports for peer, ports in ways(overlay, "bounce-worker", "ingress") if peer is None] == [{8725}]
    led = {
        name
        for name in k8s.workloads(overlay)
        for peer, ports in ways(overlay, name, "ingress")
        if peer and peer.get("namespaceSelector") == {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}
    }
    assert led == {program.app_id for program in PROGRAMS if program.serves}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_program_reaches_its_stores_its_peers_and_dapr(overlay: str) -> None:
    broker = {6379} if overlay == "dev" else {9092, 9093}
    for program in PROGRAMS:
        opened = {
            port for peer, ports in ways(overlay, program.app_id, "egress") if "ipBlock" not in peer for port in ports
        }
        assert {53, 5432, 50001, 6500, 50002, 4317, 4318} <= opened
        assert (broker <= opened) == program.subscribes, program.app_id
        assert ({27017, 9200} <= opened) == (program.service == "history" and overlay != "dev")
        arriving = {port for _, ports in ways(overlay, program.app_id, "ingress") for port in ports}
        assert {50002, 8700, 9090} <= arriving
    migrating = {port for _, ports in ways(overlay, "depesche-migrate", "egress") for port in ports}
    assert migrating == {53, 5432}
    assert ways(overlay, "depesche-migrate", "ingress") == []


@pytest.mark.parametrize("overlay", ["staging", "prod"])
def test_workers_scale_on_an_existing_metric_that_alarms_also_use(overlay: str) -> None:
    alarms = {
        series.name
        for one in k8s.of_kind(overlay, "PrometheusRule").values()
        for group in one["spec"]["groups"]
        for rule in group["rules"]
        for series in selectors(promql_parser.parse(rule["expr"]))
    }
    assert len(alarms) > 15
    lanes = set()
    for one in k8s.of_kind(overlay, "ScaledObject").values():
        (trigger,) = one["spec"]["triggers"]
        (series,) = selectors(promql_parser.parse(trigger["metadata"]["query"]))
        assert series.name in declared()
        assert series.name in alarms
        lanes |= {matcher.value for matcher in series.matchers.matchers}
        assert trigger["metricType"] == "AverageValue"  # required for a fallback
        bounds = one["spec"]["minReplicaCount"], one["spec"]["fallback"]["replicas"], one["spec"]["maxReplicaCount"]
        # without a worker nobody would publish the metric that starts one
        assert 2 <= bounds[0] <= bounds[2] >= bounds[1] >= 2
    assert lanes == {"transactional", "bulk"}


@pytest.mark.parametrize("overlay", ["staging", "prod"])
def test_prometheus_scrapes_every_program_and_every_sidecar(overlay: str) -> None:
    monitors = k8s.of_kind(overlay, "PodMonitor").values()
    asked = {endpoint["port"]: one for one in monitors for endpoint in one["spec"]["podMetricsEndpoints"]}
    assert set(asked) == {"http", "dapr-metrics"}
    for program in PROGRAMS:
        assert all(k8s.selects(one["spec"]["selector"], labels(overlay, program.app_id)) for one in asked.values())
    assert not k8s.of_kind(overlay, "ServiceMonitor")  # it would overwrite our label `service`


def test_the_collector_retains_failed_unknown_and_slow_sends() -> None:
    text = (ROOT / "k8s" / "components" / "collector" / "collector.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    sampling = settings["processors"]["tail_sampling"]
    policies = {one["name"]: one for one in sampling["policies"]}
    sender = (ROOT / "services" / "delivery" / "loops" / "sender.py").read_text(encoding="utf-8")
    told = policies["failed or unknown"]["string_attribute"]
    assert told == {"key": "depesche.outcome", "values": [Status.FAILED.word, Status.UNKNOWN.word]}
    slow = policies["slow"]["boolean_attribute"]
    assert f'"{slow["key"]}": True' in sender
    assert slow["value"] is True
    assert policies["errors"]["status_code"]["status_codes"] == ["ERROR"]
    assert list(policies)[-1] == "the rest"
    pipeline = settings["service"]["pipelines"]["traces"]
    assert pipeline["processors"].index("tail_sampling") < pipeline["processors"].index("batch")
    used = [*pipeline["receivers"], *pipeline["exporters"], *pipeline["processors"]]
    assert set(used) == {*settings["receivers"], *settings["exporters"], *settings["processors"]}
