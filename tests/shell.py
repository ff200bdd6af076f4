"""Commands as a user types them, against applications on real sockets."""

import contextlib
import functools
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
import typer.testing
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from cli.main import app
from libs.service import Service

# a runner makes the whole tree of commands anew for each command that it runs
typer.testing._get_command = functools.cache(typer.testing._get_command)


@contextlib.contextmanager
def serving(application: Any) -> Iterator[str]:
    """The application on a free port, in a thread of its own; gives its URL."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, ws="none"))
    started = threading.Event()
    startup = server.startup

    async def announced(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(120)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def mounted(service: Service) -> FastAPI:
    """The service alone, under its name as in the whole suite; opened and closed with the server."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    suite = FastAPI(lifespan=lifespan)
    suite.mount(f"/{service.name}", service.app)
    return suite


@dataclass
class Shell:
    """Runs commands as a user of this folder would."""

    environment: dict[str, str]
    app: typer.Typer = app
    runner: CliRunner = field(default_factory=CliRunner)

    def run(self, *words: str, exit_code: int | None = 0, **environment: str) -> Result:
        logging = structlog.get_config()
        result = self.runner.invoke(self.app, list(words), env=self.environment | environment)
        structlog.configure(**logging)  # a command logs to the standard error that it was given, which is closed now
        assert exit_code is None or result.exit_code == exit_code, (result.output, result.exception)
        return result

    def json(self, *words: str, exit_code: int | None = 0, **environment: str) -> Any:
        return json.loads(self.run(*words, "--json", exit_code=exit_code, **environment).stdout)
