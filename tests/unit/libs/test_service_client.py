"""Calls between services of one process have the errors that they would have over HTTP."""

from collections.abc import Callable

import pytest

from libs.auth import InternalTokens, public
from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, Call, ServiceClient, Transport
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
