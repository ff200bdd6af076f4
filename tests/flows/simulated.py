"""A simulator for tests, and small clients of what it plays."""

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pyreqwest.client import Client

from services.simulator.app import Simulator
from services.simulator.ports import HttpProtocol, Scope
from services.simulator.settings import SimulatorSettings

ACCOUNT, TOKEN = "AC123", "secret-token"
FORM = "application/x-www-form-urlencoded"


def settings(**changed: Any) -> SimulatorSettings:
    return SimulatorSettings(
        bounce_port=0, slow_seconds=0.3, late_seconds=0.2, receipt_seconds=0.01, hang_seconds=30.0
    ).model_copy(update=changed)


def authority(simulator: Simulator) -> bytes:
    return Path(simulator.endpoints.fcm_ca).read_bytes()


async def push(simulator: Simulator, client: Client, token: str, tag: str = "n.1", **more: Any) -> Any:
    message = {"token": token, "notification": {"title": "Hi"}, "android": {"notification": {"tag": tag}}}
    url = f"{simulator.endpoints.fcm_url}/v1/projects/shop/messages:send"
    request = client.post(url).header("authorization", "Bearer t").body_json({"message": message, **more})
    return await request.build().send()


async def sms(simulator: Simulator, client: Client, to: str, **form: str) -> Any:
    url = f"{simulator.endpoints.sms_url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    login = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    form = {"To": to, "From": "+4930123456", "Body": "Your parcel", **form}
    request = client.post(url).header("authorization", login).header("content-type", FORM)
    return await request.body_text(urlencode(form)).build().send()


async def control(simulator: Simulator, client: Client, method: str, path: str, document: Any = None) -> Any:
    request = client.request(method, f"{simulator.endpoints.control_url}/{path}")
    answer = await (request.body_json(document) if document is not None else request).build().send()
    return await answer.json()


class Heard:
    """A server of ours that listens to callbacks."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        body = await protocol()
        self.calls.append((f"{scope.path}?{scope.query_string}", dict(scope.headers.items()), body))
        protocol.response_empty(204, [])
        self.arrived.set()


async def heard_until(heard: Heard, count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard.calls) < count:
            heard.arrived.clear()
            await heard.arrived.wait()
