"""Calls between services of one process have the errors that they would have over HTTP."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from libs.auth import InternalTokens, Principal, public
from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, Call, ServiceClient, Transport
from libs.telemetry import span
from libs.web import Router
from services.bounce.adapters.delivery import DeliveryMessages


async def test_a_neighbours_bug_is_unavailable_as_over_http(
    make_runtime: Callable[[str], Runtime], transports: dict[str, Transport]
) -> None:
    broken = Router()

    @broken.post("/v1/broken", dependencies=[public()])
    async def fails() -> None:
        raise KeyError("a bug")

    runtime = make_runtime("postgresql://")
    service = Service("tokens", runtime, None, None, [broken])
    transports["tokens"] = AsgiTransport(lambda: service.app)
    with pytest.raises(Unavailable, match="logged with this trace id"):
        await runtime.client("delivery", "tokens").post("/v1/broken", {}, tenant=1, mode=Mode.LIVE)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_bounce_waits_while_delivery_refuses_to_look_its_message_up(status: int) -> None:
    """An error for good would bury the event at once."""

    async def refused(_: Call) -> tuple[int, bytes]:
        return status, b"{}"

    client = ServiceClient("delivery", "bounce", InternalTokens(b"k" * 32), refused)
    with pytest.raises(Unavailable, match="delivery refuses our calls"):
        await DeliveryMessages(client).lookup(["a"])


async def test_a_call_names_its_own_tenant_and_mode_with_a_token_that_is_still_valid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr("libs.service_client.time", SimpleNamespace(monotonic=lambda: clock.now))
    tokens = InternalTokens(b"k" * 32, lambda: clock.now)
    callers: list[Principal] = []

    async def answer(call: Call) -> tuple[int, bytes]:
        callers.append(tokens.read(dict(call.headers)[b"authorization"].decode().removeprefix("Internal ")))
        return 200, b"{}"

    client = ServiceClient("tokens", "delivery", tokens, answer)
    realms = [(1, Mode.LIVE), (2, Mode.LIVE), (1, Mode.TEST), (1, Mode.LIVE)]
    for clock.now in (1_000.0, 1_029.0, 1_061.0, 1_120.0):
        for tenant, mode in realms:
            await client.get("/v1/recipients", tenant=tenant, mode=mode)
    assert [(one.tenant, one.mode) for one in callers] == realms * 4
    assert {one.actor for one in callers} == {"service:delivery"}


async def test_a_call_carries_the_trace_that_it_belongs_to() -> None:
    traces: list[str] = []

    async def answer(call: Call) -> tuple[int, bytes]:
        traces.append(dict(call.headers)[b"traceparent"].decode()[3:35])
        return 200, b"{}"

    client = ServiceClient("tokens", "delivery", InternalTokens(b"k" * 32), answer)
    with span("chunk", parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        await client.post("/v1/recipients:resolve", {}, tenant=1, mode=Mode.LIVE)
    assert traces == ["0af7651916cd43dd8448eb211c80319c"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_service_that_cannot_answer_now_is_asked_again(status: int) -> None:
    async def busy(_: Call) -> tuple[int, bytes]:
        return status, b'{"detail": "later"}'

    client = ServiceClient("delivery", "bounce", InternalTokens(b"k" * 32), busy)
    with pytest.raises(Unavailable, match="later"):
        await client.post("/v1/messages:lookup", {}, tenant=1, mode=Mode.LIVE)
