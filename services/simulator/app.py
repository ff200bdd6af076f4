"""Assembles the simulator: settings → exchange → protocols → listening sockets. `start` is the entry point."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from libs.keyring import keyring_of
from libs.service import SimulatorEndpoints
from libs.standard_webhooks import secret_bytes
from services.simulator.adapters.certificates import Identity, identity_of, write_private
from services.simulator.adapters.fcm import Fcm
from services.simulator.adapters.http import PlainHttp
from services.simulator.adapters.oauth import TokenEndpoint
from services.simulator.adapters.outgoing import SocketOutgoing
from services.simulator.adapters.rsgi import HttpServer, free
from services.simulator.adapters.sms import SmsApi
from services.simulator.adapters.smtp import MailServer
from services.simulator.adapters.smtp.policy import Policy
from services.simulator.adapters.webhooks import Webhooks
from services.simulator.api import Control
from services.simulator.domain.arrivals import Arrivals
from services.simulator.domain.exchange import Exchange, Targets, Timing
from services.simulator.domain.faults import Faults
from services.simulator.loops import LOOPS, Debts
from services.simulator.settings import SimulatorSettings

ENDPOINTS_FILE = "simulator.json"


@dataclass(frozen=True)
class Simulator:
    """A running simulator: where it listens, and its state, for tests that inspect it."""

    endpoints: SimulatorEndpoints
    exchange: Exchange
    service_account: Path
    _stack: AsyncExitStack

    async def stop(self) -> None:
        """Close all sockets; hanging calls are released first."""
        await self._stack.aclose()


async def start(
    data: Path, settings: SimulatorSettings | None = None, *, receipt_key: bytes | None = None
) -> Simulator:
    """Listen on all its sockets and write the endpoints file into `data`. Raises OSError if a port is taken."""
    settings = _with_ports(settings or SimulatorSettings(), await asyncio.to_thread(read_endpoints, data))
    identity = await asyncio.to_thread(identity_of, data / "simulator", settings.public_host or settings.host)
    exchange = _exchange(settings)
    async with AsyncExitStack() as stack:
        endpoints = await _listen(stack, settings, exchange, identity)
        key = receipt_key or bytes.fromhex(settings.receipt_key.get_secret_value()) or keyring_of(data).key("simulator")
        await _run_loops(stack, exchange, key)
        identity.write_account(f"{endpoints.fcm_url}/token")
        file = data / ENDPOINTS_FILE
        write_private(file, json.dumps(asdict(endpoints), indent=2).encode())
        stack.callback(file.unlink, missing_ok=True)
        return Simulator(endpoints, exchange, identity.account, stack.pop_all())
    raise AssertionError("start returns from inside its stack")


@asynccontextmanager
async def running(data: Path, settings: SimulatorSettings | None = None) -> AsyncIterator[Simulator]:
    """Run a simulator for the duration of a block."""
    simulator = await start(data, settings)
    try:
        yield simulator
    finally:
        await simulator.stop()


def read_endpoints(data: Path) -> SimulatorEndpoints | None:
    """Return what a running simulator has written into the data folder; None if there is none."""
    with suppress(FileNotFoundError):
        return SimulatorEndpoints(**json.loads((data / ENDPOINTS_FILE).read_bytes()))
    return None


def _with_ports(settings: SimulatorSettings, left: SimulatorEndpoints | None) -> SimulatorSettings:
    """Reuse the ports of a killed run, if they are still free: clients have read them from its file."""
    if left is None:
        return settings
    known = {
        "fcm_port": int(left.fcm_url.rpartition(":")[2]),
        "http_port": int(left.sms_url.rpartition(":")[2]),
        "smtp_port": left.smtp_port,
    }
    again = {name: port for name, port in known.items() if not getattr(settings, name) and free(settings.host, port)}
    return settings.model_copy(update=again)


def _exchange(settings: SimulatorSettings) -> Exchange:
    return Exchange(
        clock=time.monotonic,
        unix=lambda: time.time_ns() // 1_000_000,
        chance=random.random,
        faults=Faults(time.monotonic),
        arrivals=Arrivals(settings.kept_messages, settings.kept_bytes),
        timing=Timing(
            settings.retry_after_seconds,
            settings.hang_seconds,
            settings.slow_seconds,
            settings.late_seconds,
            settings.receipt_seconds,
            settings.delivered_share,
            settings.opened_share,
            settings.listed_seconds,
        ),
        targets=Targets(settings.callback_url, settings.bounce_host, settings.bounce_port or 0),
    )


async def _listen(
    stack: AsyncExitStack, settings: SimulatorSettings, exchange: Exchange, identity: Identity
) -> SimulatorEndpoints:
    stopping = asyncio.Event()
    control = Control(exchange)
    oauth = TokenEndpoint(identity.account_key.public_key(), settings.fcm_strict_tokens)
    secrets = tuple(secret_bytes(secret.get_secret_value()) for secret in settings.webhook_secrets)
    plain = PlainHttp(
        {
            "2010-04-01": SmsApi(exchange, settings.sms_token.get_secret_value(), stopping),
            "webhooks": Webhooks(exchange, secrets, stopping),
            "control": control,
        },
        stopping,
    )
    policy = Policy(
        settings.smtp_mail_bytes,
        settings.smtp_pipelining,
        settings.smtp_chunking,
        settings.smtp_utf8,
        identity.server_context() if settings.smtp_starttls else None,
        settings.smtp_username,
        settings.smtp_password.get_secret_value(),
    )
    fcm = HttpServer(Fcm(exchange, oauth, stopping), settings.host, settings.fcm_port, identity.certificate)
    http = HttpServer(plain, settings.host, settings.http_port)
    mail = MailServer(exchange, policy, settings.host, settings.smtp_port)
    for server in (fcm, http, mail):
        await server.start()
        stack.push_async_callback(server.stop)
    stack.callback(stopping.set)  # closed in reverse order: hanging calls are released first
    found = _endpoints(settings, identity, fcm.port, http.port, mail.port)
    control.endpoints = asdict(found) | {"fcm_ca": identity.ca.read_text()}
    return found


def _endpoints(
    settings: SimulatorSettings, identity: Identity, fcm_port: int, http_port: int, smtp_port: int
) -> SimulatorEndpoints:
    name = settings.public_host or settings.host
    host = f"[{name}]" if ":" in name else name
    base = f"http://{host}:{http_port}"
    return SimulatorEndpoints(
        fcm_url=f"https://{host}:{fcm_port}",
        fcm_ca=str(identity.ca),
        smtp_host=name,
        smtp_port=smtp_port,
        sms_url=base,
        webhook_url=f"{base}/webhooks",
        control_url=f"{base}/control",
    )


async def _run_loops(stack: AsyncExitStack, exchange: Exchange, key: bytes) -> None:
    stop, outgoing = asyncio.Event(), SocketOutgoing()
    stack.push_async_callback(outgoing.close)
    debts = Debts(exchange, outgoing, key)
    tasks = [asyncio.create_task(loop(debts, stop), name=f"simulator {name}") for name, loop in LOOPS.items()]

    async def end() -> None:
        stop.set()
        await asyncio.gather(*tasks)

    stack.push_async_callback(end)
