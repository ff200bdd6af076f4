"""Calls between services of one process have the errors that they would have over HTTP."""

from collections.abc import Callable

import pytest

from libs.auth import public
from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from libs.service import Runtime, Service
from libs.service_client import AsgiTransport, Transport
from libs.web import Router


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
