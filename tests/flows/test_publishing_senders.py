"""Publishing refuses senders that are not configured: their messages would wait until they expire, or reach nobody."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.service import Runtime
from libs.service_client import Call, Transport
from tests.flows.publishing_suite import Suite, publishing_suite

EMAIL = {"channel": "email", "locales": {"en": {"subject": "On its way", "html": "<p>{{ event.subject }}</p>"}}}


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with publishing_suite(runtime, transports) as made:
        await made.published_template()
        await made.published_template("parcel.mail", EMAIL)
        yield made


def steps(*senders: int | None) -> list[dict[str, Any]]:
    """Return one step per sender, alternating push and e-mail."""
    uses = [("push", "parcel.push"), ("email", "parcel.mail")]
    return [
        {"channels": [{"channel": (use := uses[n % 2])[0], "template": use[1], "sender": sender}]}
        for n, sender in enumerate(senders)
    ]


async def set_up(suite: Suite, number: int, channel: str) -> None:
    made = await suite.call("delivery", "PUT", f"/v1/senders/{number}", {"name": "Shop", "channel": channel})
    assert made.status_code == 201, made.text


async def test_senders_that_are_missing_or_of_another_channel_are_named_at_once_with_their_place(suite: Suite) -> None:
    await set_up(suite, 3, "push")
    refused = await suite.published_communication(plan=steps(9, 3, None, 9, 3), condition="event.data.carrier ==")
    assert refused.status_code == 422
    found = {error["pointer"]: error["detail"] for error in refused.json()["errors"]}
    senders = {pointer: detail for pointer, detail in found.items() if pointer.endswith("/sender")}
    assert list(senders) == [f"/plan/{step}/channels/0/sender" for step in (0, 1, 3)]
    assert "There is no sender 9" in senders["/plan/0/channels/0/sender"]
    assert senders["/plan/1/channels/0/sender"] == "Sender 3 is for push."
    assert "/condition" in found


async def test_a_sender_that_is_set_up_is_published_with(suite: Suite) -> None:
    await set_up(suite, 3, "push")
    published = await suite.published_communication(plan=steps(3))
    assert published.status_code == 200, published.text
    bundle = await suite.call("orders-notification", "GET", f"/v1/releases/{published.json()['id']}")
    assert bundle.json()["plan"][0]["channels"][0]["sender"] == 3


async def test_a_sender_of_the_other_mode_is_none_of_this_one(suite: Suite, runtime: Runtime) -> None:
    assert suite.services["delivery"].database is not None
    await set_up(suite, 3, "push")
    async with suite.services["delivery"].database.acquire() as connection:
        await connection.execute("update sender set mode = 1 - mode")
    refused = await suite.published_communication(plan=steps(3))
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/plan/0/channels/0/sender"]


async def test_a_channels_default_is_published_though_nobody_has_set_one_up(suite: Suite) -> None:
    assert (await suite.published_communication(plan=steps(None, None))).status_code == 200


async def test_while_delivery_cannot_be_asked_nothing_is_published(
    suite: Suite, transports: dict[str, Transport]
) -> None:
    await set_up(suite, 3, "push")
    first = await suite.published_communication(plan=steps(3))
    asked: list[str] = []

    async def away(call: Call) -> tuple[int, bytes]:
        asked.append(call.path)
        return 503, b""

    there = transports["delivery"]
    transports["delivery"] = away
    refused = await suite.published_communication(plan=steps(3), description="edited")
    assert (refused.status_code, asked) == (503, ["/v1/senders:resolve"])
    assert "nothing was published" in refused.json()["detail"]
    kept = await suite.call("orders-notification", "GET", "/v1/communications/parcel")
    assert (kept.json()["state"], kept.json()["release_id"]) == ("changed", first.json()["id"])
    # a plan that names no sender needs no delivery
    assert (await suite.published_communication(plan=steps(None))).status_code == 200
    transports["delivery"] = there
    assert (await suite.published_communication(plan=steps(3), description="edited")).status_code == 200
