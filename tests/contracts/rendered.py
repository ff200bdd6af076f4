"""Overlays as `kubectl kustomize` renders them, and queries on the result."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "staging", "prod")
PROGRAM = "depesche.io/program"


@cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    """Every object of an overlay. Skips without kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is needed to render the overlays, and is missing")
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    return tuple(yaml.load_all(ended.stdout, yaml.CSafeLoader))


@cache
def dev_secrets() -> tuple[dict[str, Any], ...]:
    """The output of the dev overlay's secrets.sh."""
    script = ROOT / "k8s" / "overlays" / "dev" / "secrets.sh"
    ended = subprocess.run(["sh", script], capture_output=True, text=True, timeout=200, check=True)
    return tuple(yaml.safe_load_all(ended.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] in kinds}


def workloads(overlay: str) -> dict[str, dict[str, Any]]:
    """Name → pod template of every workload."""
    kinds = of_kind(overlay, "Deployment", "StatefulSet", "Job")
    return {name: one["spec"]["template"] for name, one in kinds.items()}


def programs(overlay: str) -> dict[str, dict[str, Any]]:
    """App id → Deployment."""
    found = [one for one in of_kind(overlay, "Deployment").values() if PROGRAM in one["metadata"]["labels"]]
    return {one["metadata"]["labels"][PROGRAM]: one for one in found}


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def app(deployment: dict[str, Any]) -> dict[str, Any]:
    (one,) = (c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "app")
    found: dict[str, Any] = one
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Evaluate a selector as Kubernetes does, limited to what we use."""
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "Exists"
        if one["key"] not in labels:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def from_secrets(template: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Secret and key (None: all keys) that a pod is given, its sidecar's among them."""
    for container in containers(template):
        for variable in container.get("env", ()):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                reference = variable["valueFrom"]["secretKeyRef"]
                yield reference["name"], reference["key"]
    for volume in template["spec"].get("volumes", ()):
        if "secret" in volume:
            yield volume["secret"]["secretName"], None
    annotations = template["metadata"].get("annotations", {})
    for name in ("dapr.io/api-token-secret", "dapr.io/app-token-secret"):
        if name in annotations:
            yield annotations[name], "token"
    for _, secret, key in re.findall(r"(\w+)=([\w-]+):(\w+)", annotations.get("dapr.io/env-from-secret", "")):
        yield secret, key


def secrets_of(overlay: str) -> dict[str, set[str]]:
    """Secret → keys that exist once everything is applied."""
    found = {one["metadata"]["name"]: set(one["stringData"]) for one in dev_secrets() if one["kind"] == "Secret"}
    if overlay != "dev":
        found = {}
        for one in of_kind(overlay, "ExternalSecret").values():
            found[one["spec"]["target"]["name"]] = {entry["secretKey"] for entry in one["spec"]["data"]}
        for ingress in of_kind(overlay, "Ingress").values():
            if "cert-manager.io/cluster-issuer" in ingress["metadata"]["annotations"]:
                found |= {tls["secretName"]: {"tls.crt", "tls.key"} for tls in ingress["spec"]["tls"]}
    return found
