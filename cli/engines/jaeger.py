"""Jaeger, all in one: receives spans over OTLP, stores them in memory, serves traces."""

from pathlib import Path

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, free_port, status_of

# other listeners that nobody uses: any free port of loopback
_UNUSED = (
    "collector.grpc-server", "collector.http-server", "query.grpc-server", "http-server",
    "processor.jaeger-binary.server", "processor.jaeger-compact.server", "processor.zipkin-compact.server",
)  # fmt: skip


class Jaeger(Engine):
    """Its `port` is the query API's (`/api/traces/{id}`, `/api/services`); the page itself is a placeholder."""

    recipe = recipes.JAEGER
    most_traces = 50_000

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self.otlp_http_port = free_port()
        self.otlp_grpc_port = free_port()
        self._admin_port = free_port()

    @property
    def query_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def trace_url(self) -> str:
        """For `DEPESCHE_TRACE_URL`: the trace as JSON."""
        return f"{self.query_url}/api/traces/{{trace_id}}"

    @property
    def otlp_url(self) -> str:
        """For `DEPESCHE_OTLP_ENDPOINT`: OTLP over HTTP."""
        return f"http://{LOOPBACK}:{self.otlp_http_port}"

    @property
    def otlp_grpc_address(self) -> str:
        """For Dapr's configuration: OTLP over gRPC."""
        return f"{LOOPBACK}:{self.otlp_grpc_port}"

    def command(self, program: Path) -> list[str]:
        listeners = {
            "query.http-server": self.port,
            "collector.otlp.http": self.otlp_http_port,
            "collector.otlp.grpc": self.otlp_grpc_port,
            "admin.http": self._admin_port,
            **dict.fromkeys(_UNUSED, 0),
        }
        flags = [f"--{name}{_suffix(name)}={LOOPBACK}:{port}" for name, port in listeners.items()]
        return [str(program / "jaeger"), *flags, f"--memory.max-traces={self.most_traces}", "--log-level=warn"]

    def healthy(self) -> bool:
        return status_of(self._admin_port, "/") == 200


def _suffix(name: str) -> str:
    return "-host-port" if name.startswith("processor.") else ".host-port"
