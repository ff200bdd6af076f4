"""`depesche up --engines`: the topology of production on one machine, without Docker.

    supervisor (this) ─ Postgres (with a database for FerretDB), migrations, first tenant and keys
      ├─ kafka or redis · ferretdb (for MongoDB) · opensearch · jaeger · simulator
      ├─ a process per program of services/topology.py, the APIs first
      ├─ beside each a daprd: events both ways, calls to the other services, tokens both ways
      └─ ingress     all APIs on one port, by the paths of the suite

The sidecars read `dapr/` itself, and get addresses and tokens from their environment, as in production. Ctrl-C stops
the ingress, then the workers, which finish their work while sidecars and APIs still answer, then those, and the
engines last.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from cli.engines.cache import built
from cli.engines.daprd import Daprd, Sidecar
from cli.engines.engine import LOOPBACK, Engine, free_port, status_of
from cli.engines.ferretdb import FerretDB
from cli.engines.jaeger import Jaeger
from cli.engines.kafka import Kafka
from cli.engines.needs import jdk
from cli.engines.opensearch import OpenSearch
from cli.engines.redis import Redis
from cli.processes import CannotStart, Process
from cli.supervisor import Supervisor, check_port
from libs.storage import embedded
from libs.suite import SuiteSettings
from libs.telemetry.metrics import FOLDER_VARIABLE
from services.topology import PROGRAMS, Program

DAPR = Path(__file__).parents[1] / "dapr"
Bus = Literal["kafka", "redis"]

_START_SECONDS = 300.0  # more than thirty processes share the cores
_CONNECTIONS = 400  # FerretDB has a hundred of them, every program a pool


@dataclass(frozen=True)
class Engines:
    """The programs behind the suite, in one folder."""

    broker: Kafka | Redis
    documents: FerretDB
    audit: OpenSearch
    traces: Jaeger

    def all(self) -> tuple[Kafka | Redis | FerretDB | OpenSearch | Jaeger, ...]:
        return self.broker, self.documents, self.audit, self.traces

    def bus_environment(self) -> dict[str, str]:
        """Return the sidecars' environment for `dapr/components`."""
        if isinstance(self.broker, Redis):
            return {"DEPESCHE_REDIS_HOST": self.broker.address, "DEPESCHE_REDIS_TLS": "false"}
        return {"DEPESCHE_KAFKA_BROKERS": self.broker.address, "DEPESCHE_KAFKA_AUTH_TYPE": "none"}


class Topology(Supervisor):
    """Production on one machine, with Kafka or Redis as its bus."""

    def __init__(self, settings: SuiteSettings, bus: Bus = "kafka") -> None:
        super().__init__(settings)
        self.bus = bus
        self._tokens = secrets.token_hex(16), secrets.token_hex(16)  # to the sidecars, and from them

    def start(self) -> None:
        self._check()
        self.server = embedded.start(self.folder, connections=_CONNECTIONS)
        self.launch(*map(_prepared, self.engines.all()), self.simulator(self._environment()))
        self.prepare_database(self.server.dsn)
        self.wait()
        (self.folder / "dapr-names.db").unlink(missing_ok=True)  # names from an earlier run
        sidecars = {program: self._sidecar(program) for program in PROGRAMS}
        programs = {program: self._program(program, sidecars[program]) for program in PROGRAMS}
        self.launch(*(programs[program] for program in PROGRAMS if program.serves))
        self.launch(*(self._beside(sidecars[program], programs[program]) for program in PROGRAMS))
        self.launch(*(programs[program] for program in PROGRAMS if not program.serves))
        self.launch(self._ingress())
        self.wait()
        self.announce()

    @cached_property
    def engines(self) -> Engines:
        """The engines; they know their ports before they are started."""
        assert self.server is not None, "FerretDB stores its documents in the server"
        broker = Redis(self.folder) if self.bus == "redis" else Kafka(self.folder)
        documents = FerretDB(self.folder, postgres=self.server.ensure_database("documents"))
        return Engines(broker, documents, OpenSearch(self.folder), Jaeger(self.folder))

    @cached_property
    def ports(self) -> dict[str, int]:
        """The port of each program, by its app id."""
        return {program.app_id: free_port() for program in PROGRAMS}

    def _check(self) -> None:
        """Check, before anything is started, what would stop it halfway. Raises CannotStart, NotBuilt, ToolMissing."""
        check_port(self.settings.host, self.settings.port)
        if self.settings.dsn.get_secret_value():
            raise CannotStart("With --engines the suite runs its own Postgres: unset DEPESCHE_DSN, or leave out --dsn.")
        if not DAPR.is_dir():
            raise CannotStart(f"The engines run from a checkout of the project; {DAPR} does not exist.")
        for kind in (Redis if self.bus == "redis" else Kafka, FerretDB, OpenSearch, Jaeger, Daprd):
            built(kind.recipe)
        jdk()

    def _environment(self, **more: str) -> dict[str, str]:
        """Return the environment of all our processes."""
        assert self.server is not None
        given = os.environ | {
            "DEPESCHE_DATA_DIR": str(self.folder),
            "DEPESCHE_DSN": self.server.dsn,
            "DEPESCHE_HOST": self.settings.host,
            "DEPESCHE_PORT": str(self.settings.port),
            "DEPESCHE_PUBLIC_URL": self.settings.url,
            "DEPESCHE_SIMULATOR": str(self.settings.simulator).lower(),
        }
        given.pop(FOLDER_VARIABLE, None)  # each program serves its own metrics
        return given | more

    def _program(self, program: Program, sidecar: Daprd) -> Process:
        port, (api_token, app_token) = self.ports[program.app_id], self._tokens
        environment = self._environment(
            DEPESCHE_BUS="dapr",
            DEPESCHE_SERVICE_URL=f"{sidecar.url}/v1.0/invoke/{{name}}/method",
            DEPESCHE_OTLP_ENDPOINT=self.engines.traces.otlp_url,
            DEPESCHE_TRACE_URL=self.settings.trace_url or self.engines.traces.trace_url,
            DEPESCHE_HISTORY_MONGO_URL=f"{self.engines.documents.url}/depesche_history",
            DEPESCHE_HISTORY_OPENSEARCH_URL=self.engines.audit.url,
            DAPR_HTTP_PORT=str(sidecar.port),
            DAPR_API_TOKEN=api_token,
            APP_API_TOKEN=app_token,
        )
        words = ["services", "run", program.service, "--role", program.role, "--host", LOOPBACK, "--port", str(port)]
        process = self.python(program.app_id, *words, environment=environment)
        return _well_when(process, port, "/health/ready")

    def _sidecar(self, program: Program) -> Daprd:
        api_token, app_token = self._tokens
        traces = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.engines.traces.otlp_grpc_address}",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
        }
        return Daprd(
            self.folder,
            Sidecar(
                app_id=program.app_id,
                app_port=self.ports[program.app_id],
                asked=program.only_works and self.bus == "kafka",  # not on Redis: docs/adr/0122
                resources=(DAPR, DAPR / "components" / self.bus),
                configurations=(DAPR / "configuration.yaml", DAPR / "without-mtls.yaml"),
                api_token=api_token,
                app_token=app_token,
                environment=self.engines.bus_environment() | traces,
                log_level="warn",
            ),
        )

    def _beside(self, sidecar: Daprd, program: Process) -> Process:
        program.beside = _prepared(sidecar)
        return program.beside

    def _ingress(self) -> Process:
        routes = [f"{program.service}={self.ports[program.app_id]}" for program in PROGRAMS if program.serves]
        where: Sequence[str] = ("--host", self.settings.host, "--port", str(self.settings.port))
        process = self.python("ingress", "cli.ingress", *where, *routes, environment=self._environment())
        return _well_when(process, self.settings.port, "/health")


def _prepared(engine: Engine) -> Process:
    process = engine.prepare()
    process.start_seconds = _START_SECONDS
    return process


def _well_when(process: Process, port: int, path: str) -> Process:
    process.port, process.start_seconds = port, _START_SECONDS
    process.well = partial(_answers, port, path)
    return process


def _answers(port: int, path: str) -> bool:
    return status_of(port, path) == 200
