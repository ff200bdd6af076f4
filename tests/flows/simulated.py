"""A simulator for tests, and small clients for what it simulates."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from services.simulator.app import Simulator
from services.simulator.ports import HttpProtocol, Scope
from services.simulator.settings import SimulatorSettings
from tests.waiting import eventually

ACCOUNT, TOKEN = "AC123", "secret-token"


def settings(**changed: Any) -> SimulatorSettings:
    return SimulatorSettings(
        bounce_port=0, slow_seconds=0.3, late_seconds=0.2, receipt_seconds=0.01, hang_seconds=30.0
    ).model_copy(update=changed)


@asynccontextmanager
async def calling(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client for everything it simulates, over HTTP/2 if there is TLS."""
    context = ssl.create_default_context(cafile=simulator.endpoints.fcm_ca)
    async with httpx.AsyncClient(http2=True, verify=context, timeout=120, trust_env=False) as client:
        yield client


def authority(simulator: Simulator) -> bytes:
    return Path(simulator.endpoints.fcm_ca).read_bytes()


async def push(simulator: Simulator, client: httpx.AsyncClient, token: str, tag: str = "n.1", **more: Any) -> Any:
    message = {"token": token, "notification": {"title": "Hi"}, "android": {"notification": {"tag": tag}}}
    url = f"{simulator.endpoints.fcm_url}/v1/projects/shop/messages:send"
    return await client.post(url, headers={"authorization": "Bearer t"}, json={"message": message, **more})


async def give_up_on(simulator: Simulator, client: httpx.AsyncClient, token: str, tag: str = "n.1") -> None:
    """Send a push that is left open; give up once the simulator has taken it or lost it."""
    tally = simulator.exchange.tallies["push"]
    before = tally.calls
    call = asyncio.create_task(push(simulator, client, token, tag))
    await eventually(lambda: tally.calls > before, 120)
    assert not call.done()
    call.cancel()
    await asyncio.wait([call])


async def sms(simulator: Simulator, client: httpx.AsyncClient, to: str, **form: str) -> Any:
    url = f"{simulator.endpoints.sms_url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    form = {"To": to, "From": "+4930123456", "Body": "Your parcel", **form}
    return await client.post(url, auth=(ACCOUNT, TOKEN), data=form)


async def control(simulator: Simulator, client: httpx.AsyncClient, method: str, path: str, document: Any = None) -> Any:
    answer = await client.request(method, f"{simulator.endpoints.control_url}/{path}", json=document)
    return answer.json()


class Heard:
    """A server of ours that receives callbacks."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        body = await protocol()
        self.calls.append((f"{scope.path}?{scope.query_string}", dict(scope.headers.items()), body))
        protocol.response_empty(204, [])
        self.arrived.set()


async def heard_until(heard: Heard, count: int) -> None:
    async with asyncio.timeout(120):
        while len(heard.calls) < count:
            heard.arrived.clear()
            await heard.arrived.wait()
