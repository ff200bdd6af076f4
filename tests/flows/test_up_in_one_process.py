"""`depesche up --workers 0`: API, loops and simulator are one process, which sends, and drains when it is stopped."""

import asyncio
import json
import shutil
import socket
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from cli.suite import Suite
from cli.supervisor import Supervisor
from cli.topology import Topology
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.suite import SuiteSettings, read_simulator
from tests.compiled import FOLDER, compiled_rules
from tests.flows.whole_suite import Suite as Story
from tests.flows.whole_suite import open_shop

SHIPPED = {"customer": "customer:1", "order_id": 1, "carrier": "dhl", "tracking_url": "https://track.example/1"}


class SendingAgain(httpx.AsyncBaseTransport):
    """Repeats a request that is answered 503, as clients should: on a slow machine a service may answer another one
    after the deadline of that call, which in a process of its own is not the tests'."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        for _ in range(20):
            answer = await self._transport.handle_async_request(request)
            if answer.status_code != 503:
                break
            await answer.aread()
            await asyncio.sleep(0.2)
        return answer

    async def aclose(self) -> None:
        await self._transport.aclose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_everything_runs_in_one_process_and_a_message_is_sent(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPESCHE_BOUNCE_SMTP_PORT", "0")
    compiled_rules()
    shutil.copytree(FOLDER, tmp_path / "bounce-rules")  # where the process looks for them
    settings = SuiteSettings(data_dir=tmp_path, dsn=SecretStr(database), workers=0, port=free_port())
    suite = Suite(settings)
    await asyncio.to_thread(suite.start)
    try:
        (process,) = suite.processes
        assert process.name == "suite"
        simulator = read_simulator(tmp_path)
        assert simulator is not None
        found = credentials.read(tmp_path / credentials.FILE_NAME)
        assert found is not None
        transport = SendingAgain(httpx.AsyncHTTPTransport(verify=False))
        async with httpx.AsyncClient(transport=transport, base_url=suite.url, timeout=60) as client:
            client.headers["authorization"] = f"Bearer {found.keys[Mode.LIVE]}"
            story = Story({}, client, cast(Any, None), asyncio.Event())
            await open_shop(story)
            await story.put("/tokens/v1/recipients/customer:1", {"first_name": "Ada", "emails": ["ada@mail.example"]})
            await story.send("parcel.shipped", "e-1", "A-1", SHIPPED)

            async def arrived() -> bool:
                seen = await client.get(f"{simulator.control_url}/messages")
                return "ada@mail.example" in json.dumps(seen.json())

            await story.eventually(arrived)
        handle = process._handle
        assert handle is not None
    finally:
        await asyncio.to_thread(suite.stop)
    assert handle.returncode == 0  # it drained; a signal's number would be negative
    assert read_simulator(tmp_path) is None


@pytest.mark.parametrize("kind", [Suite, Topology])
def test_up_says_so_if_bounce_mails_go_to_another_program(
    kind: type[Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second suite on the machine, for example: our workers wait for the port without a word."""
    monkeypatch.setattr(kind, "start", lambda _: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("DEPESCHE_BOUNCE_SMTP_PORT", str(taken))
        with kind(SuiteSettings(data_dir=tmp_path)) as suite:
            (note,) = suite.notes
    assert note.startswith(f"Bounce mails do not arrive: port {taken} on ")
    assert "DEPESCHE_BOUNCE_SMTP_PORT" in note
