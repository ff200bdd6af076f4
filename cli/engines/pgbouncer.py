"""PgBouncer: between the services and PostgreSQL, in transaction mode, as in production."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, answer_of

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class PgBouncer(Engine):
    """One pooler before one server. `users`: role → its SCRAM verifier, as the server stores it."""

    recipe = recipes.PGBOUNCER

    def __init__(self, folder: Path, *, postgres: str, users: Mapping[str, str], pool_size: int = 6) -> None:
        super().__init__(folder)
        self._postgres = urlsplit(postgres)
        self._users = users
        self._pool_size = pool_size

    def dsn(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@{LOOPBACK}:{self.port}/{database}"

    def command(self, program: Path) -> list[str]:
        host = self._postgres.hostname or parse_qs(self._postgres.query)["host"][0]
        known = self.folder / "users.txt"
        known.write_text("".join(f'"{user}" "{verifier}"\n' for user, verifier in self._users.items()))
        settings = {
            "listen_addr": LOOPBACK, "listen_port": str(self.port), "unix_socket_dir": "",
            "pool_mode": "transaction", "max_prepared_statements": "500",
            "default_pool_size": str(self._pool_size), "max_client_conn": "500", "query_wait_timeout": "30",
            "auth_type": "scram-sha-256", "auth_file": str(known), "admin_users": "",
        }  # fmt: skip
        lines = [f"* = host={host} port={self._postgres.port or 5432}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        written = self.folder / "pgbouncer.ini"
        written.write_text("\n".join(["[databases]", *lines, ""]))
        # it refuses to run as root: after reading these files, it switches to a user who may enter the socket's folder
        user = [] if os.geteuid() else ["--user", Path(host).owner() if host.startswith("/") else "nobody"]
        return [str(program / "pgbouncer"), *user, str(written)]

    def healthy(self) -> bool:
        return answer_of(self.port, _SSL_REQUEST, 1) == b"N"
