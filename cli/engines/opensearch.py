"""OpenSearch: one node, which stores the audit index."""

from pathlib import Path

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, free_port, status_of
from cli.engines.needs import jdk


class OpenSearch(Engine):
    """One node at `url`, without security plugin and Dashboards."""

    recipe = recipes.OPENSEARCH
    start_seconds = 90.0
    stop_seconds = 20.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._transport_port = free_port()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def command(self, program: Path) -> list[str]:
        java = [str(jdk() / "bin" / "java"), "-Xmx512m", "--enable-native-access=ALL-UNNAMED"]
        java += ["-cp", f"{program / 'classes'}:{program / 'lib'}/*"]
        return [*java, "OpenSearch", str(self.folder), str(self.port), str(self._transport_port)]

    def healthy(self) -> bool:
        return status_of(self.port, "/_cluster/health?wait_for_status=yellow&timeout=500ms") == 200
