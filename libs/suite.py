"""The suite's own settings, and the files that its data folder holds.

<data>/postgres        the embedded server's data
<data>/secret          the root of all keys
<data>/credentials.toml  the first tenant's keys, for the CLI
<data>/simulator.json  where the simulator listens
<data>/suite.json      where the suite listens, and its process
<data>/logs/           one log per process
<data>/metrics/        what each process counted in this run
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field, SecretStr

from libs.errors import Invalid, Unavailable
from libs.keyring import Keyring
from libs.messaging.dapr import Sidecar
from libs.service import Runtime, SimulatorEndpoints
from libs.service_client import Transport
from libs.settings import FILE_NAME, ServiceSettings, load

_ASK_SECONDS = 5.0


class SuiteSettings(ServiceSettings):
    """Where the suite runs. Read from the environment and `depesche.toml` in the data folder or beside you."""

    SECTION = ""
    data_dir: Path = Field(Path(".depesche"), description="Folder of everything that the suite keeps.")
    dsn: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL as postgresql://…; empty: the embedded server. {schema} stands for a service's schema, "
        "so that each connects with a role of its own.",
    )
    owner_dsn: SecretStr = Field(
        SecretStr(""),
        description="The same of the tables' owner, for `up`, `migrate` and `doctor`; empty: DEPESCHE_DSN.",
    )
    pooler: Literal["none", "transaction"] = Field(
        "none", description="What DEPESCHE_DSN leads to: PostgreSQL itself (none), or PgBouncer in transaction mode."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8700, ge=1, le=65535, description="TCP port of the suite's HTTP API.")
    workers: int = Field(
        1,
        ge=0,
        le=64,
        description="Workers, each with a process for the bulk lane beside it; 0: everything in one process.",
    )
    simulator: bool = Field(True, description="Start the simulator, so that nothing leaves this machine.")
    simulator_url: str = Field(
        "",
        description="Control API of a simulator in another container, http://simulator:8790/control; empty: the one "
        "that runs in the data folder.",
    )
    public_url: str = Field("", description="URL under which customers reach the suite; empty: http://host:port.")
    service_url: str = Field(
        "http://{name}:8700",
        description="URL of another service where each runs alone, {name} standing for it; beside Dapr's sidecar "
        "http://127.0.0.1:3500/v1.0/invoke/{name}/method.",
    )
    bus: Literal["embedded", "dapr"] = Field(
        "embedded",
        description="How events travel where each service runs alone: embedded (by `python -m services relay`) or dapr "
        "(through its sidecar, at DAPR_HTTP_PORT with DAPR_API_TOKEN and APP_API_TOKEN).",
    )
    pubsub: str = Field("bus", pattern=r"^[A-Za-z0-9._-]+$", description="Name of Dapr's pub/sub component.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    otlp_endpoint: str = Field("", description="Base URL of an OTLP/HTTP collector; empty: spans are not exported.")
    sql_slow_milliseconds: float = Field(
        500.0, gt=0, description="A statement that takes longer is counted, logged and in its trace, by its name."
    )
    trace_url: str = Field(
        "",
        pattern=r"^(https?://.*\{trace_id\}.*)?$",
        description="Page of a trace, http://127.0.0.1:16686/trace/{trace_id}; `why` and timelines link to it.",
    )
    trace_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of new traces that are exported; one that came with the sampled flag always is.",
    )
    drain_seconds: float = Field(30.0, gt=0, description="Seconds a process may take to finish its work when stopped.")

    @property
    def migrating_dsn(self) -> str:
        """The DSN of the tables' owner; empty: none was named. Raises Invalid where only the services' are known."""
        found = self.owner_dsn.get_secret_value() or self.dsn.get_secret_value()
        if "{schema}" in found:
            raise Invalid(
                "DEPESCHE_DSN is that of many roles; name the one that owns their tables.",
                pointer="DEPESCHE_OWNER_DSN",
            )
        return found

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"


def settings_file(data_dir: Path) -> Path | None:
    """The one settings file: in the data folder, else in the current one."""
    for candidate in (data_dir / FILE_NAME, Path(FILE_NAME)):
        if candidate.is_file():
            return candidate
    return None


def load_suite() -> SuiteSettings:
    """The suite's settings, with its file. Raises Invalid naming each wrong one."""
    early = load(SuiteSettings)  # the environment may name the folder that holds the file
    return load(SuiteSettings, settings_file(early.data_dir))


def runtime_from(
    settings: SuiteSettings,
    keyring: Keyring,
    transports: Callable[[str], Transport],
    sidecar: Sidecar | None = None,
) -> Runtime:
    """What every service of one process is given. Raises Unavailable where a simulator is named and does not answer."""
    return Runtime(
        dsn=settings.dsn.get_secret_value(),
        keyring=keyring,
        transports=transports,
        data_dir=settings.data_dir,
        pooled=settings.pooler == "transaction",
        slow_sql_seconds=settings.sql_slow_milliseconds / 1000,
        trace_url=settings.trace_url,
        simulator=find_simulator(settings),
        public_url=settings.url,
        settings_file=settings_file(settings.data_dir),
        sidecar=sidecar,
    )


def find_simulator(settings: SuiteSettings) -> SimulatorEndpoints | None:
    """Where the simulator listens: of the data folder, or asked of the one that the settings name, whose authority is
    kept in a file of this process. None where there is none. Raises Unavailable."""
    if not settings.simulator:
        return None
    if not settings.simulator_url:
        return read_simulator(settings.data_dir)
    import httpx

    try:
        answer = httpx.get(f"{settings.simulator_url.rstrip('/')}/endpoints", timeout=_ASK_SECONDS, trust_env=False)
        found = msgspec.json.decode(answer.raise_for_status().content, type=SimulatorEndpoints)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise Unavailable(
            f"The simulator at {settings.simulator_url} does not say where it listens: {error}"
        ) from error
    with tempfile.NamedTemporaryFile("w", prefix="simulator-", suffix=".pem", delete=False) as authority:
        authority.write(found.fcm_ca)
    return replace(found, fcm_ca=authority.name)


def read_simulator(data_dir: Path) -> SimulatorEndpoints | None:
    """Where the simulator of this folder listens; None where none runs."""
    path = data_dir / "simulator.json"
    return msgspec.json.decode(path.read_bytes(), type=SimulatorEndpoints) if path.is_file() else None
