"""Erasure: after the whole line has run for a person, nothing that is stored anywhere names that person any more."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.envelope import encode
from libs.contracts.tokens import RecipientChanged
from libs.ids import notification_id, uuid7
from libs.keyring import Keyring
from services.delivery.domain.bodies import Body
from tests.flows.test_bounce_line import report
from tests.flows.whole_suite import Suite, open_shop, whole_suite

KEY = "customer:planted-4711"
NAME, SURNAME = "Zwetschgenfried", "Quasimodowitz"
MAIL, PHONE = "planted.quasi@mail.example", "+4915220000917"
PLANTED = tuple(word.encode() for word in ("planted-4711", NAME, SURNAME, "planted.quasi", "15220000917"))
COLUMNS = """
select c.oid::regclass::text as place, attname as name, format_type(atttypid, null) = 'bytea' as raw
from pg_attribute join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
where relkind = 'r' and nspname not like 'pg_%' and nspname <> 'information_schema' and attnum > 0 and not attisdropped
  and format_type(atttypid, null) in ('text', 'text[]', 'bytea', 'json', 'jsonb', 'character varying')
order by 1, 2
"""
ANSWERS = "select scope, body from {}.idempotency where body is not null"
CLOUD_EVENT = {"content-type": "application/cloudevents+json"}


@pytest.fixture
async def suite(database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    async with whole_suite(database, tmp_path) as running:
        await open_shop(running)
        yield running


async def places(suite: Suite, database: str) -> set[str]:
    """Return the columns that name the person; what is sealed is opened."""
    keyring = next(iter(suite.services.values())).runtime.keyring
    connection = await asyncpg.connect(database)
    try:
        found = {place async for place, text in stored(connection) if named(text)}
        for id_, body in await connection.fetch("select id, body from delivery.request where body is not null"):
            found |= {"delivery.request.body" for text in opened(keyring, id_, body) if named(text.encode())}
        for service in suite.services.values():
            for scope, body in await connection.fetch(ANSWERS.format(service.database.schema)):
                if named(keyring.open("idempotency", body, scope)):
                    found.add("idempotency.body")
    finally:
        await connection.close()
    return found


async def stored(connection: Any) -> AsyncIterator[tuple[str, bytes]]:
    """Yield every text, bytes and JSON of every table, with its column."""
    for place, name, raw in await connection.fetch(COLUMNS):
        read = f'"{name}"' if raw else f'"{name}"::text'
        for (value,) in await connection.fetch(f'select {read} from {place} where "{name}" is not null'):
            yield f"{place}.{name}", value if raw else value.encode()


def opened(keyring: Keyring, id_: UUID, raw: bytes) -> Iterator[str]:
    body = Body(keyring, id_, raw)
    yield str(body.event)
    for ordinal in range(len(body)):
        yield str(body.slot(ordinal))


def named(text: bytes) -> bool:
    return any(word in text for word in PLANTED)


async def everything(suite: Suite) -> None:
    """Import, write to, refuse, and bounce one person."""
    await suite.add_mail_sender()
    hook = {"url": "https://hooks.example/bounces", "kinds": ["bounce.classified", "suppression.changed"]}
    await suite.post("/bounce/v1/webhooks", hook)
    table = f"key,first_name,email,phone\n{KEY},{NAME},{MAIL},call {SURNAME} at home\n"
    await suite.client.post("/tokens/v1/imports", content=table, headers={"content-type": "text/csv"})
    profile = {
        "first_name": NAME, "last_name": SURNAME, "locale": "de-AT", "emails": [MAIL], "phones": [PHONE],
        "attributes": {"nickname": NAME},
    }  # fmt: skip
    answer = await suite.client.put(f"/tokens/v1/recipients/{KEY}", json=profile, headers={"if-match": "*"})
    assert answer.status_code == 201, answer.text  # the import refused the row for its phone number
    await events(suite)
    mail = await suite.eventually(lambda: arrived(suite))
    words = f"Sorry, {NAME} {SURNAME} <{MAIL}>, {PHONE}, {KEY} is not here."
    bounce = report(mail["from"], MAIL).replace("Sorry.", words)
    kept = await suite.client.post("/bounce/v1/mails", content=bounce, headers={"content-type": "message/rfc822"})
    assert kept.json()["outcome"] == "unknown-user", kept.text
    await suite.post("/bounce/v1/suppressions", {"address": MAIL, "note": "asked by phone"})
    await suite.drained()
    await dead_letters(suite)


async def dead_letters(suite: Suite) -> None:
    """Put into every service's store what its subscribers could not process about the person."""
    now, cause = datetime.now(UTC), uuid7()
    named = notification_id(cause, "order-confirmation", KEY)
    command = NotificationRequested(
        request_id=uuid7(), cause_id=cause, cause_kind="event", release_id=uuid7(), communication="order-confirmation",
        lane="transactional", on_unknown="leave", expires_at=now, event={"data": {"gift": f"for {NAME}"}},
        recipients=(RequestedRecipient(key=KEY, notification_id=named),),
    )  # fmt: skip
    changed = RecipientChanged(recipient=KEY, fields=("emails",), version=3, at=now, note=f"{NAME} called")
    for service in suite.services.values():
        if service.name in ("access", "templates"):
            continue  # no event about a person is theirs, so they hear of no erasure
        for event in (command, changed):
            async with service.database.acquire() as connection:
                await connection.execute(
                    "insert into dead_letter (id, event_id, type, source, subscriber, subject, tenant, mode,"
                    " partition_key, payload, created_at, attempts, reason)"
                    " values ($1, $2, $3, 'x', 'history', $4, 1, 1, $4, $5, now(), 8, $6)",
                    uuid7(), uuid7(), event.TYPE, KEY, encode(event), f"ValueError: {NAME} {SURNAME} <{MAIL}>",
                )  # fmt: skip


async def events(suite: Suite) -> None:
    """Send events about them: wanted, with a secret, with a false condition, and one that misses its schema."""
    order = {
        "customer": KEY, "order_id": 17, "total": "19.90", "currency": "EUR",
        "items": [{"name": f"A gift for {NAME}", "quantity": 1}],
    }  # fmt: skip
    await suite.send("order.placed", "e-1", "B-1", order)
    await suite.send("login.requested", "e-2", "login-2", {"customer": KEY, "code": "471100"})
    picked_up = {"customer": KEY, "carrier": "pickup", "tracking_url": f"https://track.example/{NAME}"}
    await suite.send("parcel.shipped", "e-3", "B-1", picked_up)
    wrong = {
        "specversion": "1.0", "id": "e-4", "source": "https://shop.example", "type": "order.placed", "subject": "B-4",
        "data": {"customer": KEY, "note": NAME},
    }  # fmt: skip
    headers = CLOUD_EVENT | {"idempotency-key": "once"}
    answer = await suite.client.post("/orders-notification/v1/events", json=wrong, headers=headers)
    assert answer.status_code == 422


async def arrived(suite: Suite) -> Any:
    async with httpx.AsyncClient(base_url=suite.simulator.endpoints.control_url, timeout=60, verify=False) as control:
        items = (await control.get("messages", params={"to": MAIL})).json()["items"]
    return items[0] if items else None


async def test_nothing_stored_names_an_erased_person(suite: Suite, database: str) -> None:
    await everything(suite)
    assert {place.partition(".")[0] for place in await places(suite, database)} == {
        "bounce", "delivery", "history", "orders_notification", "tokens",
    }  # fmt: skip
    answer = await suite.client.delete(f"/tokens/v1/recipients/{KEY}", headers={"if-match": "*"})
    assert answer.status_code == 204, answer.text
    await suite.drained()
    assert await places(suite, database) == set()
