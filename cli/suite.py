"""`depesche up`: the embedded suite as a handful of supervised processes.

    supervisor (this) ─ embedded Postgres, migrations, first tenant and key
      ├─ simulator   providers on real sockets, unless real ones are configured
      ├─ api         every service's HTTP API on one port
      ├─ worker × n  the transactional lane's sender, the relays of urgent events, and the other loops
      └─ bulk × n    the bulk lane's sender, the relays of events that may wait

    with --workers 0: supervisor ─ suite, all of these and the simulator in one process

A process that ends by itself is restarted. Ctrl-C, SIGTERM or a closed terminal stops the workers first, so that they
finish their chunks and flush, then the API, the simulator and the server. Processes left by a killed supervisor are
stopped by the next one.
"""

import os
import socket
from functools import partial

from cli.processes import Process
from cli.supervisor import Supervisor, check_port
from libs.storage import embedded
from libs.telemetry.metrics import FOLDER_VARIABLE, forget_process, make_folder

_WORKER_SECONDS = 120.0  # on a busy machine; many start at once


class Suite(Supervisor):
    """The embedded suite."""

    def start(self) -> None:
        check_port(self.settings.host, self.settings.port)
        dsn = self.settings.dsn.get_secret_value()
        if not dsn:
            self.server = embedded.start(self.folder)
            dsn = self.server.dsn
        self.prepare_database(dsn)
        environment = self._environment(dsn)
        simulator = self.simulator(environment)  # removes what an earlier one left, even if none is wanted
        workers = self.settings.workers
        if self.settings.simulator and workers:
            self.launch(simulator)
            self.wait()
        front, role = ("api", "api") if workers else ("suite", "all")
        api = self.python(front, "services", role, environment=environment)
        api.well, api.port = self._answers, self.settings.port
        self.launch(api)
        self.wait()
        self.launch(
            *(
                self._worker(role, number, environment)
                for number in range(1, workers + 1)
                for role in ("worker", "bulk")
            )
        )
        self.wait()  # until they work, nothing that is accepted is sent
        self.announce()

    def _worker(self, role: str, number: int, environment: dict[str, str]) -> Process:
        process = self.python(f"{role}-{number}", "services", role, environment=environment)
        process.well, process.start_seconds = partial(process.has_logged, "worker_started"), _WORKER_SECONDS
        return process

    def ended(self, process: Process) -> None:
        if process.pid is not None:
            forget_process(self.folder / "metrics", process.pid)

    def _environment(self, dsn: str) -> dict[str, str]:
        return os.environ | {
            "DEPESCHE_DATA_DIR": str(self.folder),
            "DEPESCHE_DSN": dsn,
            "DEPESCHE_HOST": self.settings.host,
            "DEPESCHE_PORT": str(self.settings.port),
            "DEPESCHE_SIMULATOR": str(self.settings.simulator).lower(),
            FOLDER_VARIABLE: str(make_folder(self.folder)),
        }

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((self.settings.host, self.settings.port)) == 0
