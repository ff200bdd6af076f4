"""The whole suite in one process: every service, its loops and relays, and the simulator on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from libs import credentials
from libs.contracts.outcomes import Mode
from libs.keyring import keyring_of
from libs.service import Service
from libs.suite import SuiteSettings
from services.__main__ import build, create_app, running, work
from services.access.app import ensure_first
from services.bounce.handlers import mails
from services.simulator.app import Simulator
from services.simulator.app import running as simulating
from services.simulator.settings import SimulatorSettings
from tests.compiled import compiled_rules
from tests.conftest import by_role
from tests.flows.bounces import RULES_SECONDS

SHOP = Path(__file__).parents[2] / "examples" / "shop"
_DEFINITIONS = {
    "topic": "/access/v1/topics",
    "event-type": "/orders-notification/v1/event-types",
    "template": "/templates/v1/templates",
    "communication": "/orders-notification/v1/communications",
}


@dataclass
class Suite:
    """A story's tools: a client over the whole API, and what the providers saw."""

    services: dict[str, Service]
    client: httpx.AsyncClient
    simulator: Simulator
    stop: asyncio.Event

    async def get(self, path: str, **query: Any) -> Any:
        """GET as JSON; fails the test on an error."""
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def put(self, path: str, body: Any) -> Any:
        answer = await self.client.put(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        answer = await self.client.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def send(self, type_: str, id_: str, subject: str, data: Any) -> Any:
        """Send a business event."""
        event = {
            "specversion": "1.0", "id": id_, "source": "https://shop.example", "type": type_,
            "subject": subject, "data": data,
        }  # fmt: skip
        return await self.post("/orders-notification/v1/events", event, **{"content-type": _CLOUD_EVENT})

    async def add_mail_sender(self) -> None:
        """Define sender 2: it sends mails whose bounces come back to us."""
        smtp = self.simulator.endpoints
        account = {
            "host": smtp.smtp_host, "port": smtp.smtp_port, "from_address": "hello@shop.example",
            "return_path_domain": "bounces.shop.example", "tls": "off",
        }  # fmt: skip
        await self.put("/delivery/v1/senders/2", {"name": "Shop", "channel": "email", "account": account})

    async def eventually(self, what: Callable[[], Awaitable[Any]], seconds: float = 120.0) -> Any:
        """Return the first true answer of `what`; fails after `seconds`, many times what a slow machine needs."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (found := await what()):
            assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
            await asyncio.sleep(0.05)
        return found

    async def drained(self) -> None:
        """Wait until everything published so far has been consumed."""
        await self.eventually(self._nothing_to_publish)

    async def _nothing_to_publish(self) -> bool:
        for service in self.services.values():
            async with service.database.acquire() as connection:
                if await connection.fetchval("select exists (select from outbox)"):
                    return False
        return True


_CLOUD_EVENT = "application/cloudevents+json"


@asynccontextmanager
async def whole_suite(dsn: str, folder: Path, **more: Any) -> AsyncIterator[Suite]:
    """Yield the running suite; leaving drains it. `more`: settings of the suite."""
    compiled_rules()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mails, "_RULES_SECONDS", RULES_SECONDS)
        patch.setenv("DEPESCHE_HISTORY_ASK_SECONDS", "60")  # else a verdict lacks what comes after two seconds
        # bounce mails have their own port, so that suites of two test processes do not meet
        async with simulating(folder, SimulatorSettings(bounce_port=0)) as simulator:
            settings = SuiteSettings(data_dir=folder, dsn=by_role(dsn), **more)  # type: ignore[arg-type]
            services = build(settings, keyring_of(folder))
            async with running(services):
                found = credentials.read(await ensure_first(next(iter(services.values())).runtime))
                assert found is not None
                stop = asyncio.Event()
                working = asyncio.create_task(work(services, stop))
                transport = httpx.ASGITransport(create_app(services, server=settings.url))
                async with httpx.AsyncClient(transport=transport, base_url="http://suite") as client:
                    client.headers["authorization"] = f"Bearer {found.keys[Mode.LIVE]}"
                    try:
                        yield Suite(services, client, simulator, stop)
                    finally:
                        # also after a failed story: loops over closed pools would never end
                        stop.set()
                        await working


async def open_shop(suite: Suite) -> None:
    """Apply and publish the example shop."""
    for kind, path in _DEFINITIONS.items():
        for document in yaml.safe_load_all((SHOP / f"{kind}s.yaml").read_text(encoding="utf-8")):
            name = document.pop("name", None) or document.pop("type")
            del document["kind"]
            await suite.put(f"{path}/{name}", document)
            if kind in ("template", "communication"):
                await suite.post(f"{path}/{name}:publish")
