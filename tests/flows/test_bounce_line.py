"""From a bounce mail to the next claim, and back again after an undo: the whole suite."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.whole_suite import Suite, open_shop, whole_suite

SAID = "550 5.1.1 The account that this is for could not be found. gsmtp"


@pytest.fixture
async def suite(database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    async with whole_suite(database, tmp_path) as made:
        await open_shop(made)
        yield made


def report(to: str, about: str) -> str:
    return (
        f"From: MAILER-DAEMON@mx.example\r\nTo: {to}\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=q\r\n\r\n"
        "--q\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--q\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; relay.example\r\n\r\n"
        f"Final-Recipient: rfc822; {about}\r\nRemote-MTA: dns; aspmx.l.google.com\r\nAction: failed\r\n"
        f"Status: 5.1.1\r\nDiagnostic-Code: smtp; {SAID}\r\n--q--\r\n"
    )


async def test_an_undo_reaches_delivery_within_a_second_and_figures_know_the_communication(suite: Suite) -> None:
    await suite.put(
        "/tokens/v1/recipients/customer:1",
        {"first_name": "Ada", "locale": "de-AT", "emails": ["ada@mail.example"]},
    )
    await suite.add_mail_sender()
    order = {
        "customer": "customer:1", "order_id": 17, "total": "19.90", "currency": "EUR",
        "items": [{"name": "Tent", "quantity": 1}],
    }  # fmt: skip
    await suite.send("order.placed", "e-1", "B-1", order)
    mail = await suite.eventually(lambda: arrived(suite))
    kept = await suite.client.post(
        "/bounce/v1/mails", content=report(mail["from"], "ada@mail.example"), headers={"content-type": "message/rfc822"}
    )
    assert kept.json()["outcome"] == "unknown-user"
    await suite.eventually(lambda: active_in_delivery(suite, 1))

    await suite.drained()
    found = await suite.get("/bounce/v1/statistics", by=["communication", "from_domain", "provider"])
    (row,) = found["rows"]
    assert (row["communication"], row["provider"], row["suppressed"]) == ("order-confirmation", "gmail", 1)
    assert row["from_domain"] == "shop.example"
    # the bounced mail was accepted today, which is not a delivery yet
    async with suite.services["bounce"].database.acquire() as connection:
        assert await connection.fetchval("select count(*) from contact where accepted = 1") == 1

    since = datetime.now(UTC) - timedelta(hours=1)
    await suite.post(
        "/bounce/v1/suppressions:undo", {"provider": "gmail", "since": since.isoformat(), "note": "an outage"}
    )
    await suite.eventually(lambda: active_in_delivery(suite, 0))


async def arrived(suite: Suite) -> Any:
    async with httpx.AsyncClient(base_url=suite.simulator.endpoints.control_url, timeout=60, verify=False) as control:
        items = (await control.get("messages", params={"to": "ada@mail.example"})).json()["items"]
    return items[0] if items else None


async def active_in_delivery(suite: Suite, count: int) -> bool:
    async with suite.services["delivery"].database.acquire() as connection:
        found = await connection.fetchval("select count(*) from suppression where active")
    return bool(found == count)
