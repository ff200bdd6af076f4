"""Schemathesis over the merged OpenAPI document: whatever is sent, never a 500, and errors are problem documents."""

import asyncio
import json
import threading
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import requests
import schemathesis
import uvicorn
import uvloop
from hypothesis import HealthCheck, settings
from schemathesis.generation import GenerationMode
from schemathesis.generation.coverage import GenerationSession
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.overrides import Override
from schemathesis.pytest._test_builder import build_operation_test

from libs import credentials
from libs.contracts.outcomes import Mode
from libs.http_server import HttpProtocol
from libs.keyring import keyring_of
from libs.paging import make_cursor
from libs.storage import embedded
from libs.suite import SuiteSettings
from services.__main__ import build, create_app, running
from services.access.app import ensure_first
from tests.compiled import compiled_rules

EXAMPLES, WITHOUT_BODY = 6, 2  # drawn at random beside the edges; parameters alone leave little to combine
MOST_EDGES = 300  # a filter of many parameters has a thousand, most of them pairs: every third of those
MERGED = Path("docs/openapi.json")  # matches the services, as the contract tests check
ROUTES = [
    f"{method.upper()} {path}"
    for path, item in json.loads(MERGED.read_bytes())["paths"].items()
    for method in item
    if method in {"get", "put", "post", "delete", "patch"}
    # every service serves these from the same module
    and ("/dead-letters" not in path or path.startswith("/delivery/"))
]
PAGED = [
    path
    for path, item in json.loads(MERGED.read_bytes())["paths"].items()
    if any(parameter["name"] == "cursor" for parameter in item.get("get", {}).get("parameters", []))
    and ("/dead-letters" not in path or path.startswith("/delivery/"))
]
SETTINGS = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-ndjson", "text/csv", "message/rfc822", "application/zip", "application/mbox")
def as_text(_: object, value: object) -> bytes:
    """Send media types that are text exactly as generated."""
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")


class Running(threading.Thread):
    """The suite's API on a real socket, in a thread with its own loop."""

    def __init__(self, given: SuiteSettings) -> None:
        super().__init__(daemon=True)
        self.services = build(given, keyring_of(given.data_dir))
        app = create_app(self.services, server=given.url)
        # an idle connection that the server closes at the moment of the next request would be an error of the client
        config = uvicorn.Config(app, port=0, http=HttpProtocol, log_config=None, lifespan="off", timeout_keep_alive=600)
        self.server = uvicorn.Server(config)
        self.url = ""
        self.ready = threading.Event()

    def run(self) -> None:
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        async with running(self.services):
            await ensure_first(next(iter(self.services.values())).runtime)
            config = self.server.config
            config.load()
            socket = config.bind_socket()
            self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
            self.ready.set()
            await self.server.serve(sockets=[socket])

    def stop(self) -> None:
        self.server.should_exit = True
        self.join(120)


@pytest.fixture(scope="module")
def suite(postgres: embedded.EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return URL and an administrator's key of a running suite."""
    folder: Path = tmp_path_factory.mktemp("hostile")

    async def create() -> None:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("create database hostile template migrated")
        await connection.close()

    asyncio.run(create())
    compiled_rules()
    given = SuiteSettings(data_dir=folder, dsn=postgres.dsn_of("hostile"), simulator=False)  # type: ignore[arg-type]
    thread = Running(given)
    thread.start()
    assert thread.ready.wait(120)
    found = credentials.read(folder / credentials.FILE_NAME)
    assert found is not None
    key = found.keys[Mode.TEST]
    yield thread.url, key
    thread.stop()


@pytest.fixture(scope="module")
def api() -> schemathesis.BaseSchema:
    """Return the merged document; read from the file, because every process that collects tests would otherwise build
    it."""
    made = schemathesis.openapi.from_path(MERGED)
    made.config.phases.coverage.enabled = False  # `edges` sends these, with values that all routes share
    return made


@pytest.fixture(scope="module")
def drawn() -> GenerationSession:
    """The values drawn so far: routes share most of their parameters."""
    return GenerationSession()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all requests."""
    with requests.Session() as made:
        yield made


def edges(operation: schemathesis.APIOperation, drawn: GenerationSession) -> list[Any]:
    """Return requests at and beyond each limit of the route's parameters and body."""
    config = operation.schema.config
    made = CoverageGenerator(
        operation=operation,
        generation_modes=list(GenerationMode),
        generation_config=config.generation_for(operation=operation, phase="coverage"),
        auth_storage=None,
        override=Override(),
        feedback=FeedbackSources(),
        session=drawn,
    )
    found = list(made)
    return found[:: ceil(len(found) / MOST_EDGES)]


@pytest.mark.parametrize("route", ROUTES)
def test_no_request_breaks_a_route(
    route: str,
    api: schemathesis.BaseSchema,
    drawn: GenerationSession,
    suite: tuple[str, str],
    session: requests.Session,
) -> None:
    url, key = suite
    sent: list[str] = []

    def send(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120, session=session)
        sent.append(case.method)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], answer.text
            assert answer.json()["detail"]

    operation = api.find_operation_by_label(route)
    assert operation is not None
    for case in edges(operation, drawn):
        send(case)
    assert sent
    build_operation_test(
        config=api.config,
        operation=operation,
        test_func=send,
        given_kwargs={},
        feedback=FeedbackSources(),
        explicit_settings=settings(SETTINGS, max_examples=EXAMPLES if list(operation.body) else WITHOUT_BODY),
    )()


@pytest.mark.parametrize("path", PAGED)
def test_no_cursor_breaks_a_list(path: str, suite: tuple[str, str], session: requests.Session) -> None:
    """Each is the key of some list; to all others it is forged."""
    url, key = suite
    nobody = UUID(int=7)
    path = path.replace("{name}", "welcome").replace("{id}", str(nobody)).replace("{key}", "customer:1")
    for parts in (
        ["x"], [2**15], [2**31 - 1], [2**62 - 1], [nobody], ["x", "x"], [2**31 - 1, 2**31 - 1], ["1", 2**62 - 1],
        ["0001-01-01T00:00:00+14:00", nobody], ["9999-12-31T23:59:59-14:00", nobody], [2**62 - 1, nobody, "x"],
    ):  # fmt: skip
        answer = session.get(
            url + path, params={"cursor": make_cursor(*parts)}, headers={"authorization": f"Bearer {key}"}, timeout=120
        )
        assert answer.status_code in (200, 404, 422), (parts, answer.text)
