"""A mail bounces, and its address is suppressed: over HTTP, from refusals and receipts."""

import base64
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import MessageRejected, Receipt, ReceiptRecorded, Rejection
from libs.contracts.tokens import RecipientErased
from libs.verp import ReturnPath
from services.bounce.domain.reports import MAX_RECIPIENTS
from tests.flows.bounces import KIM, MESSAGE, NOTIFICATION, NOW, World, report, shown_state, until, world

__all__ = ["world"]


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


def several(to: str, *blocks: tuple[str, str, str]) -> bytes:
    """Return a report about several recipients: address, action, the server's reply."""
    first = report(to)
    start, end = first.index(b"Final-Recipient"), first.index(b"\r\n--q--")
    told = "\r\n\r\n".join(
        f"Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {words[4:9]}\r\n"
        f"Diagnostic-Code: smtp; {words}"
        for address, action, words in blocks
    )
    return first[:start] + told.encode() + first[end:]


GONE = "550 5.1.1 User unknown"


async def test_each_recipient_of_a_report_is_a_fact_and_only_the_proven_one_is_barred(world: World) -> None:
    full = "552 5.2.2 Mailbox full"
    raw = several(
        world.path, ("max@x.example", "failed", GONE), (KIM, "failed", GONE), ("eva@x.example", "failed", full)
    )
    mail = await world.hand_in(raw)
    assert (mail["state"], mail["outcome"], mail["message"]) == ("read", "unknown-user", MESSAGE)
    facts = {
        event.address_hash: (event.category, event.message_id, event.recipient)
        for event in await world.said()
        if isinstance(event, BounceClassified)
    }
    assert facts == {
        world.hash_of(KIM): ("unknown-user", MESSAGE, "customer:1042"),
        world.hash_of("max@x.example"): ("unknown-user", None, None),
        world.hash_of("eva@x.example"): ("mailbox-full", None, None),
    }
    assert [barred.address_hash for barred in await world.suppressions()] == [world.hash_of(KIM)]
    (listed,) = (await world.get("/v1/bounces", address="max@x.example"))["items"]
    assert (listed["message"], listed["mail"], listed["recipient"]) == (None, mail["id"], None)
    before = len(await world.said())
    await world.hand_in(raw + b"Received: by another way\r\n")
    assert len(await world.said()) == before


async def test_another_who_is_gone_bars_nobody_where_ours_was_delivered(world: World) -> None:
    raw = several(world.path, (KIM, "delivered", "250 2.0.0 ok"), ("max@x.example", "failed", GONE))
    mail = await world.hand_in(raw)
    assert (mail["state"], mail["outcome"]) == ("read", "delivered")
    (fact,) = await world.said()
    assert (fact.address_hash, fact.message_id) == (world.hash_of("max@x.example"), None)


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


async def test_a_proof_is_read_by_its_id_in_its_own_tenant_and_mode(world: World) -> None:
    await world.hand_in(report(world.path))
    (barred,) = (await world.get("/v1/suppressions"))["items"]
    fact = await world.get(f"/v1/bounces/{barred['proofs'][0]}")
    assert (fact["category"], fact["recipient"], fact["id"]) == ("unknown-user", "customer:1042", barred["bounce"])
    for key, id_ in (("other", fact["id"]), ("key", uuid4())):
        async with world.client(key) as client:
            assert (await client.get(f"/v1/bounces/{id_}")).status_code == 404


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


async def test_a_report_of_thousands_is_capped(world: World) -> None:
    block = b"\r\n\r\nFinal-Recipient: rfc822; x@y.example\r\nAction: failed\r\nStatus: 4.0.0"
    raw = report(world.path).replace(b"\r\n--q--", block * 600 + b"\r\n--q--")
    assert len(raw) > MAX_RECIPIENTS * len(block)
    assert (await world.hand_in(raw))["outcome"] == "unknown-user"
