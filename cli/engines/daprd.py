"""Dapr's sidecar: one beside each application, between it, the broker and the other services."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, free_port, status_of

# How a sidecar checks the health of a program that consumes events: dapr/README.md
ASKED = {
    "enable-app-health-check": "true",
    "app-health-check-path": "/health/ready",
    "app-health-probe-interval": "3",  # seconds
    "app-health-probe-timeout": "3000",  # milliseconds
}
_MOST_BODY = "16Mi"  # a chunk's recipients can exceed Dapr's default of 4 MiB: dapr/README.md

# without its own resolver, daprd would look names up by multicast, which is not compiled in
_NAMES = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: names
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: "{file}"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """A sidecar's application and configuration."""

    app_id: str
    resources: Sequence[Path]  # folders of components, subscriptions, resiliency
    app_port: int | None = None  # None: the application only publishes and calls
    asked: bool = False  # whether its health is checked; while it is unhealthy, no events are delivered
    configurations: Sequence[Path] = ()  # Configuration files; later ones win
    api_token: str = ""  # callers of the sidecar must send this as dapr-api-token
    app_token: str = ""  # the sidecar sends this to the application as dapr-api-token
    environment: Mapping[str, str] = field(default_factory=dict)  # what the secret store local.env may return
    log_level: str = "info"


class Daprd(Engine):
    """Its `port` is that of Dapr's HTTP API. Sidecars of one run folder find one another through a file in it.

    It is healthy once the application, started before it, has returned its subscriptions."""

    recipe = recipes.DAPRD
    stop_seconds = 15.0

    def __init__(self, folder: Path, sidecar: Sidecar, *, port: int | None = None) -> None:
        super().__init__(folder, port=port, name=f"daprd-{sidecar.app_id}")
        self.sidecar = sidecar
        self.grpc_port = free_port()
        self._internal_port = free_port()
        self.metrics_port = free_port()
        self._names = folder.resolve() / "dapr-names.db"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def command(self, program: Path) -> list[str]:
        names = self.folder / "names.yaml"
        names.write_text(_NAMES.format(file=self._names))
        flags = {
            "app-id": self.sidecar.app_id,
            "app-port": self.sidecar.app_port,
            "app-channel-address": LOOPBACK,
            "dapr-listen-addresses": LOOPBACK,
            "dapr-http-port": self.port,
            "dapr-grpc-port": self.grpc_port,
            "dapr-internal-grpc-listen-address": LOOPBACK,
            "dapr-internal-grpc-port": self._internal_port,
            "metrics-listen-address": LOOPBACK,
            "metrics-port": self.metrics_port,
            "max-body-size": _MOST_BODY,
            "log-level": self.sidecar.log_level,
        }
        flags |= ASKED if self.sidecar.asked else {}
        given = [f"--{flag}={value}" for flag, value in flags.items() if value is not None]
        given += [f"--resources-path={path}" for path in self.sidecar.resources]
        given += [f"--config={path}" for path in (names, *self.sidecar.configurations)]
        return [str(program / "daprd"), *given]

    def environment(self) -> dict[str, str]:
        tokens = {"DAPR_API_TOKEN": self.sidecar.api_token, "APP_API_TOKEN": self.sidecar.app_token}
        return super().environment() | dict(self.sidecar.environment) | tokens

    def healthy(self) -> bool:
        return status_of(self.port, "/v1.0/healthz") == 204
