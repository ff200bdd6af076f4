"""Redis: the broker of a laptop's compose; Dapr publishes to its streams."""

from pathlib import Path

from cli.engines import recipes
from cli.engines.engine import LOOPBACK, Engine, answer_of


class Redis(Engine):
    """One server. All data is in its append-only file, so that a restart loses nothing that was acknowledged."""

    recipe = recipes.REDIS

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def command(self, program: Path) -> list[str]:
        settings = {
            "bind": LOOPBACK, "port": str(self.port), "dir": str(self.folder), "daemonize": "no",
            "save": "", "appendonly": "yes", "appendfsync": "everysec",
        }  # fmt: skip
        flags = [word for key, value in settings.items() for word in (f"--{key}", value)]
        return [str(program / "redis-server"), *flags]

    def healthy(self) -> bool:
        return answer_of(self.port, b"PING\r\n", 5) == b"+PONG"
