"""Kafka: the production broker. One node that is its own controller (KRaft)."""

import base64
import struct
import subprocess
import uuid
from pathlib import Path

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, answer_of, free_port
from cli.engines.needs import jdk
from cli.processes import CannotStart

# ApiVersions v0, which every broker answers without login: length, key 18, version, correlation, no client
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)


class Kafka(Engine):
    """One broker on `address`. Topics are created on first use, with `partitions` partitions."""

    recipe = recipes.KAFKA
    start_seconds = 60.0
    partitions = 2

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._controller_port = free_port()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def command(self, program: Path) -> list[str]:
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        java = [str(jdk() / "bin" / "java"), "-Xmx384m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        java += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", f"{program / 'lib'}/*"]
        if not (self.folder / "data" / "meta.properties").exists():
            self._format([*java, "kafka.tools.StorageTool", "format", "-c", str(settings)])
        return [*java, "kafka.Kafka", str(settings)]

    def _settings(self) -> dict[str, str]:
        controller = f"{LOOPBACK}:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": str(self.partitions),
            "message.max.bytes": "4194304",  # required by dapr/components/kafka
            "offsets.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # after a crash the controller refuses this node until its previous session has expired
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
            # there is one broker
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }

    def _format(self, command: list[str]) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        ended = subprocess.run([*command, f"--cluster-id={cluster}"], capture_output=True, text=True)
        if ended.returncode:
            raise CannotStart(f"Kafka's folder {self.folder} cannot be formatted: {ended.stdout}{ended.stderr}")

    def healthy(self) -> bool:
        # length, our correlation id, no error
        return answer_of(self.port, _API_VERSIONS, 10)[4:] == struct.pack(">ih", 7, 0)
