"""Every overlay is valid for Kubernetes, runs the topology's programs, and references nothing that is missing."""

import re
from functools import cache
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from cli.engines.daprd import ASKED
from libs.suite import SuiteSettings
from services.topology import PROGRAMS
from tests.contracts import rendered as k8s
from tests.contracts.rendered import OVERLAYS, ROOT

VERSION = "1.33"  # of Kubernetes, as docs/operate.md says
CORE = {
    "v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1",
}  # fmt: skip
OF_OPERATORS = {
    "dapr.io/v1alpha1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1", "external-secrets.io/v1",
}  # fmt: skip

pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def definitions() -> Registry[Any]:
    """What every schema refers to. `kubernetes_validate.validate` reads these megabytes again for each object."""
    return (Resource.from_contents(schema("_definitions")) @ Registry()).crawl()


@cache
def validator(kind: str, version: str) -> Draft202012Validator:
    """The strict schema of a kind: an unknown field is an error."""
    group, _, number = version.rpartition("/")
    own = schema("-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part))
    return Draft202012Validator(own, registry=Resource.from_contents(own) @ definitions())


def schema(name: str) -> Any:
    return schema_contents(f"kubernetes-json-schema/v{VERSION}.0-local-strict/{name}.json", VERSION)


def test_every_object_matches_the_api_schemas(overlay: str) -> None:
    seen = 0
    for one in (*k8s.rendered(overlay), *k8s.dev_secrets()):
        if one["apiVersion"] in CORE:
            validator(one["kind"], one["apiVersion"]).validate(one)
            seen += 1
        else:
            assert one["apiVersion"] in OF_OPERATORS, one["metadata"]["name"]
    assert seen > 60


def test_exactly_the_topologys_programs_are_deployed(overlay: str) -> None:
    found = {name: k8s.app(one)["args"] for name, one in k8s.programs(overlay).items()}
    assert found == {p.app_id: ["python", "-m", "services", "run", p.service, "--role", p.role] for p in PROGRAMS}
    for name, one in k8s.programs(overlay).items():
        assert one["metadata"]["name"] == name
        assert one["spec"]["template"]["metadata"]["annotations"]["dapr.io/app-id"] == name


def test_each_program_has_its_accompanying_objects(overlay: str) -> None:
    budgets, accounts = k8s.of_kind(overlay, "PodDisruptionBudget"), k8s.of_kind(overlay, "ServiceAccount")
    services, scalers = k8s.of_kind(overlay, "Service"), k8s.of_kind(overlay, "HorizontalPodAutoscaler")
    for program in PROGRAMS:
        name = program.app_id
        template = k8s.programs(overlay)[name]["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert k8s.selects(budgets[name]["spec"]["selector"], labels)
        assert accounts[name]["automountServiceAccountToken"] is False
        assert template["spec"]["serviceAccountName"] == name
        assert (name in services) == program.serves == (labels.get("depesche.io/api") == "true")
        assert (labels.get("depesche.io/bus") == "true") == program.subscribes
        assert ("dapr.io/env-from-secret" in template["metadata"]["annotations"]) == program.subscribes
        if program.serves:
            assert scalers[name]["spec"]["scaleTargetRef"]["name"] == name
            assert "preStop" in k8s.app(k8s.programs(overlay)[name])["lifecycle"]


def test_only_workers_are_health_checked_by_their_sidecars(overlay: str) -> None:
    for program in PROGRAMS:
        given = k8s.programs(overlay)[program.app_id]["spec"]["template"]["metadata"]["annotations"]
        asked = {name: given[f"dapr.io/{name}"] for name in ASKED if f"dapr.io/{name}" in given}
        assert asked == (ASKED if program.only_works else {}), program.app_id


def test_autoscaled_programs_set_no_replicas(overlay: str) -> None:
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for one in k8s.of_kind(overlay, "HorizontalPodAutoscaler").values()
        if one["spec"]["minReplicas"]
    } | {one["spec"]["scaleTargetRef"]["name"] for one in k8s.of_kind(overlay, "ScaledObject").values()}
    assert {name for name, one in k8s.programs(overlay).items() if "replicas" in one["spec"]}.isdisjoint(scaled)
    assert scaled <= set(k8s.programs(overlay))
    if overlay != "dev":
        assert {"delivery-worker", "delivery-bulk"} <= scaled


def test_selectors_match_their_pods(overlay: str) -> None:
    labels = [template["metadata"]["labels"] for template in k8s.workloads(overlay).values()]
    for one in k8s.rendered(overlay):
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            hit = [ls for ls in labels if k8s.selects({"matchLabels": spec["selector"]}, ls)]
            assert len(hit) == 1, one["metadata"]["name"]
        elif one["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            assert len([ls for ls in labels if k8s.selects(spec["selector"], ls)]) == 1, one["metadata"]["name"]
        elif one["kind"] in ("PodMonitor", "NetworkPolicy"):
            selector = spec.get("selector") or spec.get("podSelector")
            assert any(k8s.selects(selector, ls) for ls in labels), one["metadata"]["name"]


def test_every_referenced_secret_and_map_is_created(overlay: str) -> None:
    made, maps = k8s.secrets_of(overlay), k8s.of_kind(overlay, "ConfigMap")
    for name, template in k8s.workloads(overlay).items():
        for secret, key in k8s.from_secrets(template):
            assert secret in made, (name, secret)
            assert key is None or key in made[secret], (name, secret, key)
        asked = [v["configMap"]["name"] for v in template["spec"].get("volumes", ()) if "configMap" in v]
        asked += [e["configMapRef"]["name"] for c in k8s.containers(template) for e in c.get("envFrom", ())]
        assert set(asked) <= set(maps)
    assert made["depesche"] == {"secret", "depesche.toml"}
    for monitor in k8s.of_kind(overlay, "PodMonitor").values():
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if "authorization" in endpoint:
                credentials = endpoint["authorization"]["credentials"]
                assert credentials["key"] in made[credentials["name"]]
    for ingress in k8s.of_kind(overlay, "Ingress").values():
        assert {tls["secretName"] for tls in ingress["spec"].get("tls", ())} <= set(made)


def test_settings_are_known_and_contain_no_secret(overlay: str) -> None:
    known = {f"DEPESCHE_{name.upper()}" for name in SuiteSettings.model_fields}
    (given,) = (one["data"] for name, one in k8s.of_kind(overlay, "ConfigMap").items() if "DEPESCHE_BUS" in one["data"])
    assert set(given) <= known
    assert {"DEPESCHE_DSN", "DEPESCHE_DATA_DIR"}.isdisjoint(given)
    SuiteSettings(**{name.removeprefix("DEPESCHE_").lower(): value for name, value in given.items()})
    assert given["DEPESCHE_BUS"] == "dapr"
    assert given["DEPESCHE_PUBLIC_URL"].endswith(
        f"//{k8s.of_kind(overlay, 'Ingress')['depesche']['spec']['rules'][0]['host']}"
    )


def test_probes_separate_liveness_from_readiness(overlay: str) -> None:
    for name, one in k8s.programs(overlay).items():
        container, spec = k8s.app(one), one["spec"]["template"]["spec"]
        live, ready = container["livenessProbe"], container["readinessProbe"]
        assert container["startupProbe"]["httpGet"]["path"] == live["httpGet"]["path"] == "/health/live", name
        assert ready["httpGet"]["path"] == "/health/ready"
        assert ready["timeoutSeconds"] > 2 * 2 - 1  # the database and the sidecar have two seconds each
        assert live["periodSeconds"] * live["failureThreshold"] >= 60
        assert spec["terminationGracePeriodSeconds"] >= SuiteSettings().drain_seconds + 5 + 10
        waiting = spec["initContainers"][0]
        assert waiting["args"][:3] == ["depesche", "migrate", "--wait-seconds"]
        assert waiting["image"] == container["image"]


def test_pods_meet_the_restricted_standard_and_more(overlay: str) -> None:
    namespace = k8s.of_kind(overlay, "Namespace")["depesche"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, template in k8s.workloads(overlay).items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {kind for v in spec.get("volumes", ()) for kind in v if kind != "name"} <= {
            "secret",
            "configMap",
            "emptyDir",
        }
        for container in k8s.containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_image_versions_are_pinned(overlay: str) -> None:
    for template in k8s.workloads(overlay).values():
        for container in k8s.containers(template):
            assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.?\d*(-[a-z0-9]+)?", container["image"])


def test_sidecars_read_what_is_applied_with_them(overlay: str) -> None:
    configured, components = k8s.of_kind(overlay, "Configuration"), k8s.of_kind(overlay, "Component")
    assert set(components) == {"bus", "secrets"}
    broker = "redis" if overlay == "dev" else "kafka"
    assert components["bus"]["spec"]["type"] == f"pubsub.{broker}"
    text = (ROOT / "dapr" / "components" / broker / "bus.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"(?:envRef|name): (DEPESCHE_\w+)", text))
    assert len(asked) >= 4
    control = configured["depesche"]["spec"]["accessControl"]
    assert {policy["namespace"] for policy in control["policies"]} == {"depesche"}
    assert k8s.of_kind(overlay, "Resiliency")
    for program in PROGRAMS:
        deployment = k8s.programs(overlay)[program.app_id]
        given = deployment["spec"]["template"]["metadata"]["annotations"]
        ports = {port["name"]: str(port["containerPort"]) for port in k8s.app(deployment)["ports"]}
        assert given["dapr.io/config"] in configured
        assert given["dapr.io/app-port"] == ports["http"] == str(SuiteSettings().port)
        if program.subscribes:
            named = dict(re.findall(r"(\w+)=depesche-bus:(\w+)", given["dapr.io/env-from-secret"]))
            assert named == {variable: variable for variable in asked}
    assert all(
        one["metadata"].get("namespace") == "depesche" for one in k8s.rendered(overlay) if one["kind"] != "Namespace"
    )


def test_the_ingress_routes_to_every_api_and_nothing_else(overlay: str) -> None:
    (rule,) = k8s.of_kind(overlay, "Ingress")["depesche"]["spec"]["rules"]
    led: dict[str, Any] = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert led == {f"/{program.service}/v1": program.app_id for program in PROGRAMS if program.serves}


def test_development_secrets_are_new_at_each_call(overlay: str) -> None:
    words = [value for one in k8s.dev_secrets() for value in one.get("stringData", {}).values()]
    random = [value for value in words if re.fullmatch("[0-9a-f]{64}", value)]
    assert len(set(random)) == len(random) >= 5
    assert yaml.safe_load((ROOT / "k8s/overlays/dev/kustomization.yaml").read_text())["resources"]
