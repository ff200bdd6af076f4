"""The suite's own settings, and the files in its data folder.

<data>/postgres          the embedded server's data
<data>/secret            the root of all keys
<data>/credentials.toml  the first tenant's keys, for the CLI
<data>/simulator.json    the simulator's URLs
<data>/suite.json        the suite's URL and its process
<data>/logs/             one log per process
<data>/metrics/          the metrics of each process in this run
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
from libs.messaging.keeping import Kept
from libs.service import Runtime, SimulatorEndpoints
from libs.service_client import Transport
from libs.settings import FILE_NAME, ServiceSettings, load

_ASK_SECONDS = 5.0


class SuiteSettings(ServiceSettings):
    """Where the suite runs. Read from the environment and `depesche.toml` in the data folder or the current one."""

    SECTION = ""
    data_dir: Path = Field(Path(".depesche"), description="Folder for all data of the suite.")
    dsn: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL as postgresql://…; empty: the embedded server. {schema} becomes a service's schema, "
        "so that each connects with its own role.",
    )
    owner_dsn: SecretStr = Field(
        SecretStr(""),
        description="DSN of the tables' owner, for `up`, `migrate` and `doctor`; empty: DEPESCHE_DSN.",
    )
    pooler: Literal["none", "transaction"] = Field(
        "none", description="What DEPESCHE_DSN points to: PostgreSQL itself (none), or PgBouncer in transaction mode."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8700, ge=1, le=65535, description="TCP port of the suite's HTTP API.")
    workers: int = Field(
        1,
        ge=0,
        le=64,
        description="Worker processes, each with a second process for the bulk lane; 0: everything in one process.",
    )
    simulator: bool = Field(True, description="Start the simulator, so that nothing leaves this machine.")
    simulator_url: str = Field(
        "",
        description="Control API of a simulator in another container, http://simulator:8790/control; empty: the "
        "simulator of the data folder.",
    )
    public_url: str = Field("", description="URL under which customers reach the suite; empty: http://host:port.")
    service_url: str = Field(
        "http://{name}:8700",
        description="URL of another service when services run alone; {name} is its name. With a Dapr sidecar "
        "http://127.0.0.1:3500/v1.0/invoke/{name}/method.",
    )
    bus: Literal["embedded", "dapr"] = Field(
        "embedded",
        description="How events travel when services run alone: embedded (by `python -m services relay`) or dapr "
        "(through its sidecar, at DAPR_HTTP_PORT with DAPR_API_TOKEN and APP_API_TOKEN).",
    )
    pubsub: str = Field("bus", pattern=r"^[A-Za-z0-9._-]+$", description="Name of Dapr's pub/sub component.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    otlp_endpoint: str = Field("", description="Base URL of an OTLP/HTTP collector; empty: spans are not exported.")
    sql_slow_milliseconds: float = Field(
        500.0, gt=0, description="A slower SQL statement is counted, logged and added to its trace, by its name."
    )
    trace_url: str = Field(
        "",
        pattern=r"^(https?://.*\{trace_id\}.*)?$",
        description="URL of a trace's page, http://127.0.0.1:16686/trace/{trace_id}; `why` and timelines link to it.",
    )
    trace_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of new traces to export; a trace that arrives with the sampled flag is always exported.",
    )
    dead_letters_kept_days: int = Field(
        30, ge=1, description="Days that dead letters are kept; erasures among them stay until they are replayed."
    )
    erasures_kept_days: int = Field(
        400,
        ge=90,
        description="Days that a recipient's erasure is kept (as a hash), so that what arrives late is not stored. "
        "At least as long as anything else is kept that can be replayed.",
    )
    drain_seconds: float = Field(
        30.0, gt=0, description="Seconds that a process may take to finish its work when stopped."
    )

    @property
    def migrating_dsn(self) -> str:
        """The DSN of the tables' owner, or empty if none is set. Raises Invalid if only the services' DSN is known."""
        found = self.owner_dsn.get_secret_value() or self.dsn.get_secret_value()
        if "{schema}" in found:
            raise Invalid(
                "DEPESCHE_DSN is a template for many roles; set the DSN of the role that owns the tables.",
                pointer="DEPESCHE_OWNER_DSN",
            )
        return found

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"


def settings_file(data_dir: Path) -> Path | None:
    """Return the settings file: in the data folder, else in the current one."""
    for candidate in (data_dir / FILE_NAME, Path(FILE_NAME)):
        if candidate.is_file():
            return candidate
    return None


def load_suite() -> SuiteSettings:
    """Return the suite's settings, including its file. Raises Invalid naming each wrong one."""
    early = load(SuiteSettings)  # the environment may name the folder that contains the file
    return load(SuiteSettings, settings_file(early.data_dir))


def runtime_from(
    settings: SuiteSettings,
    keyring: Keyring,
    transports: Callable[[str], Transport],
    sidecar: Sidecar | None = None,
) -> Runtime:
    """Return the runtime for every service of one process. Raises Unavailable if a simulator is named but does not
    respond."""
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
        kept=Kept(settings.dead_letters_kept_days, settings.erasures_kept_days),
        sidecar=sidecar,
    )


def find_simulator(settings: SuiteSettings) -> SimulatorEndpoints | None:
    """Return the simulator's URLs: from the data folder, or from the simulator that the settings name, whose CA is
    then saved in a file of this process. None if there is none. Raises Unavailable."""
    if not settings.simulator:
        return None
    if not settings.simulator_url:
        return read_simulator(settings.data_dir)
    import httpx

    try:
        answer = httpx.get(f"{settings.simulator_url.rstrip('/')}/endpoints", timeout=_ASK_SECONDS, trust_env=False)
        found = msgspec.json.decode(answer.raise_for_status().content, type=SimulatorEndpoints)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise Unavailable(f"The simulator at {settings.simulator_url} did not return its URLs: {error}") from error
    with tempfile.NamedTemporaryFile("w", prefix="simulator-", suffix=".pem", delete=False) as authority:
        authority.write(found.fcm_ca)
    return replace(found, fcm_ca=authority.name)


def read_simulator(data_dir: Path) -> SimulatorEndpoints | None:
    """Return the URLs of this folder's simulator; None if none runs."""
    path = data_dir / "simulator.json"
    return msgspec.json.decode(path.read_bytes(), type=SimulatorEndpoints) if path.is_file() else None
