"""Where one engine is built: runs its commands and logs their output."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.engines.cache import cache_folder
from libs.errors import Permanent

_LOG_LINES = 15


class BuildFailed(Permanent):
    """An engine could not be built; the detail has the end of the log."""

    slug = "engine-build-failed"
    title = "The engine cannot be built"


@dataclass
class Workshop:
    """Runs the commands of one engine's build, with one log."""

    name: str
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = cache_folder() / "logs" / f"{self.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)

    def run(self, command: Sequence[str | Path], folder: Path, **environment: str) -> None:
        """Run a command. Raises BuildFailed with the end of the log."""
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            ended = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        if ended.returncode:
            raise BuildFailed(f"`{Path(command[0]).name}` ended with code {ended.returncode}; {self.tail()}")

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"the end of {self.log}:", *lines[-_LOG_LINES:]])
