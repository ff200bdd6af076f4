"""A mail comes back, and the address is barred: over SMTP, over HTTP, from refusals and receipts."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aiosmtplib
import asyncpg
import httpx
import pytest

from libs import exact_json
from libs.clock import FixedClock
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.envelope import Envelope, Event, decode
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import RecipientErased
from libs.ids import message_id
from libs.service import Runtime, Service
from libs.service_client import Call, Transport
from libs.verp import ReturnPath
from services.bounce.adapters.smtp import SmtpListener
from services.bounce.app import create_service
from services.bounce.domain.reports import MAX_RECIPIENTS
from services.bounce.handlers import SUBSCRIPTIONS
from services.bounce.loops import listener, reader
from services.bounce.settings import BounceSettings

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
NOTIFICATION = UUID("0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f")
MESSAGE = message_id(NOTIFICATION, 17)
KIM = "kim@customer.example"
KEYS = {"key": (1, "live"), "test": (1, "test"), "other": (2, "live")}


def report(to: str, *, status: str = "5.1.1", words: str = "550 5.1.1 User unknown", action: str = "failed") -> bytes:
    """A bounce mail as the recipient's server writes it."""
    return (
        f"From: MAILER-DAEMON@mx.customer.example\r\nTo: {to}\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=q\r\n\r\n"
        f"--q\r\nContent-Type: text/plain\r\n\r\nSorry about {KIM}.\r\n--q\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.customer.example\r\n\r\n"
        f"Final-Recipient: rfc822; {KIM}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {words}\r\n--q--\r\n"
    ).encode()


@dataclass
class World:
    """bounce over a real Postgres, beside a ledger that knows one message."""

    service: Service
    runtime: Runtime
    dsn: str
    clock: FixedClock
    ledger: dict[str, dict[str, Any]]
    away: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return ReturnPath(self.runtime.keyring.key("verp"), "bounces.example").make(NOTIFICATION, 17, 1)

    def hash_of(self, address: str) -> bytes:
        return self.runtime.hasher("email", address)

    async def hear(self, event: Event, *, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        envelope = Envelope(
            id=uuid4(), type=event.TYPE, source=event.SOURCE, time=NOW, tenant=tenant, mode=mode, key="k", data=event
        )
        await SUBSCRIPTIONS[type(event)](self.service.deps, [envelope])

    async def said(self) -> list[Any]:
        """What was published so far, in order."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch("select type, payload from bounce.outbox order by id")
        finally:
            await connection.close()
        return [decode(row["type"], row["payload"]) for row in rows]

    async def suppressions(self) -> list[SuppressionChanged]:
        return [event for event in await self.said() if isinstance(event, SuppressionChanged)]

    @asynccontextmanager
    async def client(self, key: str = "key") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://bounce", headers=headers) as client:
            yield client

    async def hand_in(self, raw: bytes, key: str = "key", **params: str) -> dict[str, Any]:
        async with self.client(key) as client:
            answer = await client.post(
                "/v1/mails", content=raw, params=params, headers={"content-type": "message/rfc822"}
            )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def get(self, path: str, key: str = "key", **params: Any) -> Any:
        async with self.client(key) as client:
            answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any, key: str = "key") -> httpx.Response:
        async with self.client(key) as client:
            return await client.post(path, json=body)


def access() -> Transport:
    async def answer(call: Call) -> tuple[int, bytes]:
        key = exact_json.loads(call.body)["key"]
        tenant, mode = KEYS[key]
        return 200, exact_json.dumps({"key_id": key, "tenant": tenant, "mode": mode, "scopes": ["admin"]})

    return answer


@pytest.fixture
async def world(
    database: str, make_runtime: Callable[[str], Runtime], transports: dict[str, Transport]
) -> AsyncIterator[World]:
    clock = FixedClock(NOW)
    runtime = make_runtime(database)
    object.__setattr__(runtime, "clock", clock)
    ledger: dict[str, dict[str, Any]] = {}
    ledger[MESSAGE] = {
        "tenant": 1,
        "mode": "live",
        "address_hash": base64.b64encode(runtime.hasher("email", KIM)).decode(),
        "recipient": "customer:1042",
        "sender": 1,
        "channel": "email",
        "category": "transactional",
        "status": "sent",
    }

    async def delivery(call: Call) -> tuple[int, bytes]:
        if made.away:
            return 503, b'{"detail": "away"}'
        ids = exact_json.loads(call.body)["ids"]
        made.asked += ids
        return 200, exact_json.dumps({id_: made.ledger[id_] for id_ in ids if id_ in made.ledger})

    transports |= {"access": access(), "delivery": delivery}
    service = create_service(runtime, BounceSettings(smtp_port=1, max_recipients=3, max_mail_bytes=50_000))
    made = World(service, runtime, database, clock, ledger)
    async with service.running():
        yield made


async def test_a_dead_mailbox_is_barred_with_its_evidence(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    assert (mail["state"], mail["outcome"], mail["message"]) == ("read", "unknown-user", MESSAGE)
    bounced, barred = await world.said()
    assert isinstance(bounced, BounceClassified)
    assert (bounced.category, bounced.group, bounced.recipient) == ("unknown-user", "hard", "customer:1042")
    assert (bounced.message_id, bounced.attempt, bounced.address_hash) == (MESSAGE, 1, world.hash_of(KIM))
    assert KIM not in (bounced.text or "")
    assert isinstance(barred, SuppressionChanged)
    assert (barred.scope, barred.reason, barred.active, barred.version) == ("all", "suppressed_bounce", True, 1)
    assert barred.address_hash == world.hash_of(KIM)
    (listed,) = (await world.get("/v1/suppressions", address=" Kim@Customer.example "))["items"]
    shown = await world.get(f"/v1/suppressions/{listed['id']}")
    assert [fact["category"] for fact in shown["evidence"]] == ["unknown-user"]
    assert shown["evidence"][0]["mail"] == mail["id"]


async def test_the_same_mail_or_evidence_again_changes_nothing(world: World) -> None:
    first = await world.hand_in(report(world.path))
    second = await world.hand_in(report(world.path))
    third = await world.hand_in(report(world.path) + b"Received: by another way\r\n")
    assert first["id"] == second["id"] != third["id"]
    assert third["outcome"] == "unknown-user"
    assert len(await world.said()) == 2


@pytest.mark.parametrize(
    ("words", "status", "outcome"),
    [("452 4.2.2 Mailbox full", "4.2.2", "mailbox-full"), ("450 4.1.1 User unknown", "4.1.1", "unknown-user")],
)
async def test_what_may_pass_is_a_fact_but_bars_nothing(world: World, words: str, status: str, outcome: str) -> None:
    mail = await world.hand_in(report(world.path, words=words, status=status))
    assert mail["outcome"] == outcome
    assert [type(event) for event in await world.said()] == [BounceClassified]


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed"])
async def test_reports_that_are_no_failure_change_nothing(world: World, action: str) -> None:
    assert (await world.hand_in(report(world.path, action=action)))["state"] == "read"
    assert await world.said() == []


async def test_forged_mail_changes_nothing(world: World) -> None:
    forged = world.path.replace(world.path[10], "a" if world.path[10] != "a" else "b", 1)
    for to in (forged, KIM, "b-@bounces.example", ""):
        mail = await world.hand_in(report(to))
        assert mail["state"] == "backscatter"
    assert await world.said() == []
    assert world.asked == []


async def test_a_key_cannot_bar_an_address_of_another_tenant_or_mode(world: World) -> None:
    for key in ("other", "test"):
        assert (await world.hand_in(report(world.path), key))["outcome"] == "another tenant's message"
    assert await world.said() == []
    assert (await world.hand_in(report(world.path)))["outcome"] == "unknown-user"
    assert (await world.get("/v1/suppressions", key="other"))["items"] == []


async def test_a_signed_message_that_is_no_longer_known_is_only_noted(world: World) -> None:
    world.ledger.clear()
    assert (await world.hand_in(report(world.path)))["outcome"] == "the message is no longer known"
    assert await world.said() == []


async def test_a_mail_waits_while_delivery_is_away(world: World) -> None:
    world.away = True
    mail = await world.hand_in(report(world.path))
    assert mail["state"] == "waiting"
    world.away = False
    await until(world, lambda: shown_state(world, mail["id"], "read"))
    assert len(await world.suppressions()) == 1


async def shown_state(world: World, mail: str, state: str) -> bool:
    return bool((await world.get(f"/v1/mails/{mail}"))["state"] == state)


async def until(world: World, wanted: Callable[[], Awaitable[bool]]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(reader(world.service.deps, stop))
    try:
        for _ in range(500):
            if await wanted():
                return
            await asyncio.sleep(0.02)
        pytest.fail("it did not happen within 10 s")
    finally:
        stop.set()
        await task


async def test_a_complaint_bars_marketing_only(world: World) -> None:
    receipt = Receipt(provider="p", provider_event_id="e1", message=MESSAGE, attempt=1, kind="complained", at=NOW)
    await world.hear(ReceiptRecorded(receipts=(receipt,)))
    (barred,) = await world.suppressions()
    assert (barred.scope, barred.reason) == ("marketing", "suppressed_complaint")
    assert barred.address_hash == world.hash_of(KIM)


def refused(text: str, *, final: bool = True) -> MessageRejected:
    rejection = Rejection(
        message=MESSAGE,
        recipient="customer:1042",
        attempt=1,
        channel="email",
        sender=1,
        address_id=17,
        address_hash=b"k" * 32,
        final=final,
        text=text,
        at=NOW,
    )
    return MessageRejected(request_id=uuid4(), rejections=(rejection,))


async def test_a_refusal_inside_the_session_bars_like_a_bounce_mail(world: World) -> None:
    await world.hear(refused("451 4.7.1 greylisted", final=False))
    await world.hear(refused("550 5.1.1 no such user kim@customer.example"))
    await world.hear(refused("550 5.1.1 no such user kim@customer.example"))
    bounced, barred = await world.said()
    assert (bounced.origin, bounced.category) == ("session", "unknown-user")
    assert barred.address_hash == b"k" * 32


async def test_a_lift_is_an_action_and_old_evidence_does_not_undo_it(world: World) -> None:
    await world.hear(refused("550 5.1.1 no such user"))
    (listed,) = (await world.get("/v1/suppressions", active=True))["items"]
    lifted = await world.post(f"/v1/suppressions/{listed['id']}:lift", {"note": "works again"})
    assert lifted.json()["active"] is False
    assert (await world.post(f"/v1/suppressions/{listed['id']}:lift", {"note": "again"})).status_code == 409
    await world.hear(refused("550 5.1.1 no such user"))
    _, _, change, action = await world.said()
    assert (change.active, change.version, change.note) == (False, 2, "works again")
    assert (action.action, action.actor, action.note) == ("suppression.lift", "key", "works again")
    assert (await world.post(f"/v1/suppressions/{uuid4()}:lift", {"note": "nobody"})).status_code == 404


async def test_new_evidence_after_a_lift_bars_again(world: World) -> None:
    await world.hear(refused("550 5.1.1 no such user"))
    (listed,) = (await world.get("/v1/suppressions"))["items"]
    await world.post(f"/v1/suppressions/{listed['id']}:lift", {"note": "works again"})
    world.clock.now = NOW.replace(hour=20)
    path = ReturnPath(world.runtime.keyring.key("verp"), "bounces.example").make(NOTIFICATION, 17, 2)
    world.ledger[MESSAGE]["address_hash"] = base64.b64encode(b"k" * 32).decode()
    await world.hand_in(report(path))
    assert [(s.version, s.active) for s in await world.suppressions()] == [(1, True), (2, False), (3, True)]


async def test_an_address_is_barred_by_hand(world: World) -> None:
    body = {"address": "Max@Example.com", "scope": "marketing", "note": "asked by phone"}
    made = await world.post("/v1/suppressions", body)
    assert made.status_code == 201
    assert made.json()["reason"] == "suppressed_manual"
    assert "example.com" not in made.text.lower()
    assert (await world.get("/v1/suppressions", address="max@example.com"))["items"] == [made.json()]
    assert (await world.post("/v1/suppressions", {**body, "address": "+49 151 23456789"})).status_code == 201
    assert len(await world.suppressions()) == 2


@pytest.mark.parametrize("body", [{}, {"address": "x@y", "note": ""}, {"address": "no address at all", "note": "why"}])
async def test_a_wrong_suppression_says_what_is_wrong(world: World, body: dict[str, Any]) -> None:
    answer = await world.post("/v1/suppressions", body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_lists_come_in_pages(world: World) -> None:
    for number in range(5):
        await world.post("/v1/suppressions", {"address": f"u{number}@example.com", "note": "by hand"})
    first = await world.get("/v1/suppressions", limit=3)
    rest = await world.get("/v1/suppressions", limit=3, cursor=first["next_cursor"])
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert len(set(ids)) == 5
    assert rest["next_cursor"] is None


async def test_the_wrong_kind_of_body_is_refused(world: World) -> None:
    async with world.client() as client:
        mails = "/v1/mails"
        assert (await client.post(mails, json={})).status_code == 415
        headers = {"content-type": "message/rfc822"}
        assert (await client.post(mails, content=b" ", headers=headers)).status_code == 400
        assert (await client.post(mails, content=b"x" * 60_000, headers=headers)).status_code == 413


async def test_erasure_leaves_the_bar_and_takes_the_name(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    await world.hear(RecipientErased(recipient="customer:1042", at=NOW))
    (listed,) = (await world.get("/v1/suppressions"))["items"]
    assert (listed["active"], listed["recipient"]) == (True, None)
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert (fact["recipient"], fact["text"], fact["category"]) == (None, None, "unknown-user")
    async with world.client() as client:
        assert (await client.get(f"/v1/mails/{mail['id']}")).status_code == 404


# ---- SMTP


@asynccontextmanager
async def listening(world: World, port: int = 0) -> AsyncIterator[int]:
    """The listener on a free port, as its loop runs it."""
    made = SmtpListener("127.0.0.1", port, limits_of(world))
    object.__setattr__(world.service.deps, "listener", made)
    stop = asyncio.Event()
    task = asyncio.create_task(listener(world.service.deps, stop))
    try:
        for _ in range(500):
            if made.port is None:
                await asyncio.sleep(0.01)
        assert made.port is not None
        yield made.port
    finally:
        stop.set()
        await task


def limits_of(world: World) -> Any:
    from services.bounce.adapters.smtp import Limits

    return Limits(max_mail_bytes=50_000, max_connections=2, max_recipients=3, idle_seconds=5)


async def test_a_bounce_mail_over_smtp_bars_the_address(world: World) -> None:
    async with listening(world) as port:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
            await smtp.sendmail("", [world.path.upper()], report("somebody@else.example"))

        async def barred() -> bool:
            return bool(await world.suppressions())

        await until(world, barred)
    assert (await world.get("/v1/bounces", message=MESSAGE))["items"][0]["origin"] == "mail"


async def test_strangers_are_refused_at_rcpt_and_counted(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        await smtp.mail("")
        for stranger in ("someone@bounces.example", "b-abcdef@bounces.example"):
            with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
                await smtp.rcpt(stranger)
            assert refused.value.code == 550
    connection = await asyncpg.connect(world.dsn)
    assert await connection.fetchval("select sum(count) from bounce.backscatter") == 2
    assert await connection.fetchval("select count(*) from bounce.mail") == 0
    await connection.close()


async def test_limits_of_size_recipients_and_connections(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        with pytest.raises(aiosmtplib.SMTPException) as too_large:
            await smtp.sendmail("", [world.path], b"x: y\r\n\r\n" + b"z" * 60_000)
        assert "552" in str(too_large.value)
        await smtp.rset()
        await smtp.mail("")
        for _ in range(3):
            await smtp.rcpt(world.path)
        with pytest.raises(aiosmtplib.SMTPResponseException) as too_many:
            await smtp.rcpt(world.path)
        assert too_many.value.code == 452
        second = await asyncio.open_connection("127.0.0.1", port)
        assert (await second[0].readline()).startswith(b"220")
        third = await asyncio.open_connection("127.0.0.1", port)
        assert (await third[0].readline()).startswith(b"421")
        for _, writer in (second, third):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_no_250_without_the_bytes_in_the_database(world: World) -> None:
    async with listening(world) as port, aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as smtp:
        await smtp.mail("")
        await smtp.rcpt(world.path)
        connection = await asyncpg.connect(world.dsn)
        await connection.execute("alter table bounce.mail rename to mail_away")
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await smtp.data(report(world.path))
        assert refused.value.code == 451
        await connection.execute("alter table bounce.mail_away rename to mail")
        await connection.close()


async def test_a_taken_port_is_waited_for(world: World) -> None:
    async with listening(world) as port:
        waiting = SmtpListener("127.0.0.1", port, limits_of(world))
        stop = asyncio.Event()

        async def never(*_: Any) -> None:
            return None

        task = asyncio.create_task(waiting.serve(never, never, stop))
        await asyncio.sleep(0.05)
        assert waiting.port is None
        stop.set()
        await task


async def test_a_report_of_thousands_is_capped(world: World) -> None:
    block = b"\r\n\r\nFinal-Recipient: rfc822; x@y.example\r\nAction: failed\r\nStatus: 4.0.0"
    raw = report(world.path).replace(b"\r\n--q--", block * 600 + b"\r\n--q--")
    assert len(raw) > MAX_RECIPIENTS * len(block)
    assert (await world.hand_in(raw))["outcome"] == "unknown-user"
