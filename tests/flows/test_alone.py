"""One service in its own process, as in a container: API, loops by role, probes, metrics, an orderly end."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from libs import alone
from libs.auth import InternalTokens
from libs.contracts.outcomes import Mode
from libs.errors import DepescheError, Unavailable
from libs.keyring import keyring_of
from libs.service import Runtime
from libs.service_client import AsgiTransport, Call, HttpTransport
from libs.suite import SuiteSettings
from services.access.app import create_service as access
from services.access.app import ensure_first
from tests.conftest import by_role

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://postgres@127.0.0.1:9/none"


_KEPT: list[socket.socket] = []


@pytest.fixture(scope="module", autouse=True)
def _kept_ports() -> Iterator[None]:
    yield
    while _KEPT:
        _KEPT.pop().close()


def free_port() -> int:
    """Return a port that nobody else is given before its program listens there, which may take seconds. The program can
    bind it beside our socket, because both allow that and ours does not listen."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _KEPT.append(kept)
    return int(kept.getsockname()[1])


@dataclass
class Alone:
    """A service's process, and a client of it with the suite's internal token."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        token = InternalTokens(keyring_of(self.folder).key("internal")).make("test", 1, Mode.LIVE)
        self.headers = {"authorization": f"Internal {token}"}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=60, verify=False)

    def ready(self) -> None:
        until = time.monotonic() + 60  # several processes start at once
        while time.monotonic() < until:
            try:
                if self.get("/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None
            time.sleep(0.05)
        raise AssertionError("it did not become ready")


def command(service: str, role: str, port: int) -> list[str]:
    return [sys.executable, "-m", "services", "run", service, "--role", role, "--port", str(port)]


def environment(dsn: str, folder: Path, **more: str) -> Mapping[str, str]:
    return os.environ | {"DEPESCHE_DSN": by_role(dsn), "DEPESCHE_DATA_DIR": str(folder)} | more


def launched(words: list[str], given: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, cwd=ROOT, env=given, stderr=subprocess.DEVNULL)


@pytest.fixture
def run(database: str, tmp_path: Path) -> Iterator[Callable[..., Alone]]:
    """Start services alone; stop what a test has left running."""
    started: list[Alone] = []
    keyring_of(tmp_path)

    def start(service: str, role: str, **more: str) -> Alone:
        port = free_port()
        process = launched(command(service, role, port), environment(database, tmp_path, **more))
        started.append(Alone(process, f"http://127.0.0.1:{port}", tmp_path))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_services_alone_meet_over_http_and_end_in_good_order(
    run: Callable[..., Alone], runtime: Runtime, tmp_path: Path
) -> None:
    object.__setattr__(runtime, "keyring", keyring_of(tmp_path))
    found = asyncio.run(ensure_first(runtime)).read_text()
    key = next(line.split('"')[1] for line in found.splitlines() if line.startswith("live"))
    keys = run("access", "api")
    delivery = run("delivery", "all", DEPESCHE_SERVICE_URL=keys.url + "/{name}")
    for one in (keys, delivery):
        one.ready()
        assert one.get("/health/live").status_code == 200
    # by the suite's paths and its own; a key is verified by access over the network
    for path in ("/delivery/v1/senders", "/v1/senders"):
        assert delivery.get(path).status_code == 401
        assert delivery.get(path, authorization=f"Bearer {key}").json()["items"] == []
    assert delivery.get("/metrics").status_code == 401
    assert "depesche_http_requests_total" in delivery.get("/metrics", authorization=f"Bearer {key}").text
    for one in (delivery, keys):
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(60) == 0


def test_who_still_sends_when_it_ends_is_told_so(run: Callable[..., Alone]) -> None:
    keys = run("access", "api", DEPESCHE_DRAIN_SECONDS="3")
    keys.ready()
    with socket.create_connection(("127.0.0.1", int(keys.url.rpartition(":")[2])), timeout=60) as sender:
        head = b"POST /v1/tenants HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
        sender.sendall(head)
        assert sender.recv(65_536).startswith(b"HTTP/1.1 100 ")  # the service has begun to read the body
        sender.sendall(b"{")
        keys.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: sender.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"is shutting down" in answer
    assert keys.process.wait(60) == 0


def test_a_worker_alone_has_loops_and_probes_and_no_api(run: Callable[..., Alone]) -> None:
    worker = run("delivery", "worker")
    worker.ready()
    assert worker.get("/delivery/v1/senders", **worker.headers).status_code == 404
    until = time.monotonic() + 60
    while "depesche_delivery_backlog{" not in (text := worker.get("/metrics", **worker.headers).text):
        assert time.monotonic() < until, text  # a loop of delivery measures the backlog
        time.sleep(0.1)


async def test_a_service_alone_leaves_its_outbox_to_the_relay_that_knows_all_subscribers(
    run: Callable[..., Alone], database: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(
            "insert into delivery.outbox (event_id, type, source, tenant, mode, partition_key, payload)"
            " values (gen_random_uuid(), 'suppression.changed', 'delivery', 1, 1, 'x', '{}')"
        )
        worker = run("delivery", "all")
        await asyncio.to_thread(worker.ready)
        await asyncio.sleep(0.5)  # five polls of a relay
        assert await connection.fetchval("select count(*) from delivery.outbox") == 1
        relay = launched([sys.executable, "-m", "services", "relay"], environment(database, tmp_path))
        try:
            until = time.monotonic() + 60  # several processes start at once
            while await connection.fetchval("select exists (select from delivery.outbox)"):
                assert time.monotonic() < until
                await asyncio.sleep(0.1)
        finally:
            relay.terminate()
            assert await asyncio.to_thread(relay.wait, 60) == 0
        # it is unreadable, and each subscriber has said so, also other services'
        heard = await connection.fetch("select subscriber from delivery.dead_letter order by 1")
        assert [row["subscriber"] for row in heard] == ["bounce", "delivery", "history"]
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dsn": SecretStr("")}, "DEPESCHE_DSN"),
        ({"data_dir": Path("/nowhere")}, "/nowhere/secret"),
        ({"service_url": "http://suite"}, "DEPESCHE_SERVICE_URL"),
    ],
)
def test_it_refuses_to_start_without_what_it_needs(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    keyring_of(tmp_path)
    settings = SuiteSettings(data_dir=tmp_path, dsn=SecretStr(NOWHERE)).model_copy(update=changes)
    with pytest.raises(DepescheError) as refused:
        alone.build("access", access, settings)
    assert said in refused.value.detail + "".join(error.pointer for error in refused.value.errors)


def test_without_a_database_it_ends_with_a_sentence(tmp_path: Path) -> None:
    keyring_of(tmp_path)
    given = environment(NOWHERE, tmp_path)
    ended = subprocess.run(command("access", "api", free_port()), cwd=ROOT, env=given, capture_output=True, check=False)
    assert ended.returncode == 1
    assert "Postgres does not answer" in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()


def test_a_shells_few_descriptors_do_not_limit_who_connects(database: str, tmp_path: Path) -> None:
    keyring_of(tmp_path)
    port, most = free_port(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    process = subprocess.Popen(
        command("access", "api", port), cwd=ROOT, env=environment(database, tmp_path), stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, most)),
    )  # fmt: skip
    try:
        Alone(process, f"http://127.0.0.1:{port}", tmp_path).ready()
        with ExitStack() as open_ones:
            for _ in range(200):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert (
                httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False, timeout=60, verify=False).status_code
                == 200
            )
    finally:
        process.kill()
        process.wait()


def test_neighbours_are_reached_at_their_urls_and_the_service_itself_straight() -> None:
    url = "http://127.0.0.1:3500/v1.0/invoke/{name}/method"
    neighbours = alone.Neighbours(url, own={"access": lambda *_: None})  # type: ignore[dict-item,return-value]
    assert isinstance(neighbours("access"), AsgiTransport)
    tokens = neighbours("tokens")
    assert isinstance(tokens, HttpTransport)
    assert tokens._base == "http://127.0.0.1:3500/v1.0/invoke/tokens/method"
    assert neighbours("tokens") is tokens


@pytest.mark.parametrize(("port", "given"), [("3500", {"dapr-api-token": "ours"}), ("3501", {})])
def test_the_sidecars_token_goes_to_the_sidecar_and_nowhere_else(
    port: str, given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring_of(tmp_path)
    monkeypatch.setenv("DAPR_API_TOKEN", "ours")
    monkeypatch.setenv("APP_API_TOKEN", "theirs")
    settings = SuiteSettings(data_dir=tmp_path, dsn=SecretStr(NOWHERE), bus="dapr").model_copy(
        update={"service_url": f"http://127.0.0.1:{port}/v1.0/invoke/{{name}}/method"}
    )
    tokens = alone.build("access", access, settings).runtime.transports("tokens")
    assert isinstance(tokens, HttpTransport)
    assert tokens._headers == given


async def test_connections_to_the_others_are_closed_when_it_stops(database: str, tmp_path: Path) -> None:
    keyring_of(tmp_path)
    settings = SuiteSettings(data_dir=tmp_path, dsn=SecretStr(by_role(database))).model_copy(
        update={"service_url": f"http://127.0.0.1:{free_port()}/{{name}}"}
    )
    service = alone.build("access", access, settings)
    tokens = service.runtime.transports("tokens")
    assert isinstance(tokens, HttpTransport)
    async with service.running():
        with pytest.raises(Unavailable):
            await tokens(Call("GET", "/v1/recipients", "", (), b""))
        client = tokens._client
        assert not client.is_closed
    assert client.is_closed


def test_a_relay_beside_sidecars_is_refused(database: str, tmp_path: Path) -> None:
    """It would deliver everything to everybody a second time."""
    given = environment(database, tmp_path, DEPESCHE_BUS="dapr")
    ended = subprocess.run(
        [sys.executable, "-m", "services", "relay"], cwd=ROOT, env=given, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "DEPESCHE_BUS: With Dapr, each service publishes through its own sidecar" in ended.stderr
