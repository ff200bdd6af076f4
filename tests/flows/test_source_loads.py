"""Large deliveries, and mappings of many expressions, hold up nobody else."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs import exact_json
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.intake import Intake, intake
from tests.flows.intake_shops import SECRET


@pytest.fixture
async def shop(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Intake]:
    async with intake(runtime, transports) as running:
        yield running


async def share_of_longest_wait(work: Any) -> float:
    """Return for how much of the work's time nothing else could run. Of its CPU time: the machine may stop us."""
    done = asyncio.ensure_future(work)
    started = before = time.process_time()
    longest = 0.0
    while not done.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, time.process_time() - before), time.process_time()
    await done
    return longest / (time.process_time() - started)


async def test_a_delivery_of_megabytes_leaves_time_for_others(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-hex", "header": "X-Sign"},
        "mapping": {"type": "'order.placed'", "id": "body.id", "data": {"number": "body.id"}},
        "secrets": [SECRET],
    }
    assert (await shop.put("/v1/sources/own", definition)).status_code == 201
    items = [{"name": f"Häkel\\u00e4nde {number}", "price": 19.9} for number in range(40_000)]
    body = exact_json.dumps({"id": "1", "items": items})
    sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert await share_of_longest_wait(shop.post("/v1/sources/own", body, key=None, x_sign=sign)) < 0.5
    assert await shop.count("event") == 1


async def test_a_strangers_form_of_megabytes_is_not_decoded(shop: Intake) -> None:
    definition = {
        "verification": {"scheme": "hmac-base64", "header": "X-Sign", "signed": "{url}{form}"},
        "mapping": {"type": "'order.placed'", "id": "body.id"},
        "secrets": [SECRET],
    }
    assert (await shop.put("/v1/sources/own", definition)).status_code == 201
    form = "application/x-www-form-urlencoded"
    started = time.process_time()
    answer = await shop.post("/v1/sources/own", b"x=" + b"%41" * 5_000_000, key=None, content_type=form, x_sign="a")
    assert answer.status_code == 401
    assert time.process_time() - started < 2
