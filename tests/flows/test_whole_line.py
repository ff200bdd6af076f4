"""The line from end to end, all services and the simulator in one process: an event becomes a message, explained."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.simulator.domain.faults import Fault, Script
from tests.flows.whole_suite import Suite, open_shop, whole_suite

ORDER = {
    "customer": "customer:1",
    "order_id": 700_000_000_000_000_017,
    "total": "19.90",
    "currency": "EUR",
    "items": [{"name": "Lampe „Mond“ 🌙", "quantity": 2}],
}


@pytest.fixture
async def suite(database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """Yield the shop, applied and published, with one customer."""
    async with whole_suite(database, tmp_path) as running:
        await open_shop(running)
        await customer(running)
        yield running


async def customer(suite: Suite, **changes: Any) -> None:
    profile = {
        "first_name": "Ada",
        "locale": "de-AT",
        "emails": ["ada@mail.example"],
        "phones": ["+4915220000001"],
    }
    headers = {"if-match": "*"}
    answer = await suite.client.put("/tokens/v1/recipients/customer:1", json=profile | changes, headers=headers)
    assert answer.status_code in (200, 201), answer.text


async def why(suite: Suite, **question: str) -> Any:
    return await suite.get("/history/v1/why", **question)


async def test_an_order_becomes_a_mail_that_can_be_explained(suite: Suite) -> None:
    await suite.send("order.placed", "e-1", "B-1", ORDER)

    async def told() -> Any:
        answer = await why(suite, order="B-1")
        return answer if answer["verdict"] == "sent" and answer["messages"] else None

    answer = await suite.eventually(told)
    assert answer["render"]["digest"] == "equal"
    listed = await suite.get("/history/v1/timeline", order="B-1")
    assert listed["items"]


async def test_a_customer_without_a_zone_reads_times_in_the_tenants(suite: Suite) -> None:
    await suite.client.put(
        "/access/v1/tenants/1", json={"name": "Shop", "zone": "Asia/Tokyo"}, headers={"if-match": "*"}
    )
    await suite.put("/orders-notification/v1/event-types/slot.booked", {"schema": {"type": "object"}})
    text = "Your parcel comes until {{ event.data.until | date: '%H:%M' }}."
    await suite.put("/templates/v1/templates/slot.sms", {"channel": "sms", "locales": {"en": {"text": text}}})
    await suite.post("/templates/v1/templates/slot.sms:publish")
    plan = [{"channels": [{"channel": "sms", "template": "slot.sms"}]}]
    slot = {"trigger": "slot.booked", "recipient": "'customer:1'", "category": "transactional", "plan": plan}
    await suite.put("/orders-notification/v1/communications/slot", slot)
    await suite.post("/orders-notification/v1/communications/slot:publish")
    await suite.send("slot.booked", "e-9", "B-9", {"until": "2027-03-01T08:30:00Z"})

    async def told() -> Any:
        answer = await why(suite, order="B-9")
        return answer if answer["verdict"] == "sent" and answer["messages"] else None

    render = (await suite.eventually(told))["render"]
    assert (render["digest"], render["parts"]["text"]) == ("equal", "Your parcel comes until 17:30.")


async def test_a_customer_without_an_address_is_told_so(suite: Suite) -> None:
    await suite.put("/tokens/v1/recipients/customer:2", {"first_name": "Nobody"})
    await suite.send("order.placed", "e-2", "B-2", ORDER | {"customer": "customer:2"})

    async def told() -> Any:
        answer = await why(suite, order="B-2")
        return answer if answer["verdict"] == "not_sent" else None

    assert "address" in str(await suite.eventually(told))


async def test_a_false_condition_is_an_answer_too(suite: Suite) -> None:
    parcel = {"customer": "customer:1", "carrier": "pickup", "tracking_url": "https://track.example/1"}
    await suite.send("parcel.shipped", "e-3", "B-3", parcel)

    async def told() -> Any:
        answer = await why(suite, order="B-3")
        return answer if answer["verdict"] == "not_sent" else None

    assert "condition" in str(await suite.eventually(told)).lower()


async def test_what_never_arrived_leaves_no_trace_and_the_answer_says_where_to_look(suite: Suite) -> None:
    assert (await why(suite, order="B-404"))["verdict"] == "no_trace"


async def test_a_one_time_code_is_sent_and_then_wiped(suite: Suite) -> None:
    await suite.send("login.requested", "e-5", "login-5", {"customer": "customer:1", "code": "471100"})

    async def told() -> Any:
        answer = await why(suite, order="login-5")
        wiped = answer["render"] is not None and answer["render"]["digest"] == "not_reproducible"
        return answer if answer["messages"] and wiped else None

    assert (await suite.eventually(told))["verdict"] == "sent"


async def test_a_text_without_an_answer_is_asked_about_and_told_so(suite: Suite) -> None:
    """Twilio accepted it and the connection broke; the communication says `verify`, so it is queried, and `why` says
    so."""
    await customer(suite, phones=["+4915229990498"])  # its last digits: accepted, then cut off
    path = "/orders-notification/v1/communications/one-time-code"
    code = await suite.get(path)
    kept = {name: code[name] for name in ("trigger", "recipient", "category", "expiry_seconds")}
    edit = kept | {"plan": code["plan"][:1], "on_unknown": "verify"}
    answer = await suite.client.put(path, json=edit, headers={"if-match": f'"{code["version"]}"'})
    assert answer.status_code == 200, answer.text
    assert (await suite.post(f"{path}:publish"))["notices"] == [], "by SMS a provider can be asked"
    faults = suite.simulator.exchange.faults
    faults.add(Script("sms-list", Fault.UNAVAILABLE))  # so that it is unknown for as long as we look
    await suite.send("login.requested", "e-6", "login-6", {"customer": "customer:1", "code": "471101"})
    await suite.eventually(lambda: verdict(suite, "unknown", "verifying"))
    faults.clear()

    async def asked() -> Any:
        async with suite.services["delivery"].database.acquire() as connection:
            await connection.execute("update work set due_at = now() where lane = 2 and leased_until = '-infinity'")
        return await verdict(suite, "sent", "verified_sent")

    answer = await suite.eventually(asked)
    assert "A later query showed that it had the message." in answer["sentence"]
    assert suite.simulator.exchange.tallies["sms"].accepted == 1


async def verdict(suite: Suite, wanted: str, reason: str) -> Any:
    """Return the answer to why, once it is this one."""
    answer = await why(suite, order="login-6")
    return answer if (answer["verdict"], answer["reason"]) == (wanted, reason) else None
