"""The audit over HTTP: what is found, what is hidden, what is refused."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.outcomes import Status
from libs.paging import make_cursor, read_cursor
from tests.flows.histories import KIM, NOW, ORDER, SENT, World, world

__all__ = ["world"]

FAILED = (Status.SENDING, Status.FAILED, 1)
PUT_BACK = (Status.SENDING, Status.PENDING, 1)


async def ask(world: World, path: str = "", key: str = "support", **asked: Any) -> tuple[int, dict[str, Any]]:
    async with world.client(key) as client:
        answer = await client.get(f"/v1/audit{path}", params={name.rstrip("_"): value for name, value in asked.items()})
    return answer.status_code, answer.json()


async def found(world: World, key: str = "support", **asked: Any) -> list[dict[str, Any]]:
    status, body = await ask(world, key=key, **asked)
    assert status == 200, body
    return list(body["items"])


async def refused(world: World, path: str = "", **asked: Any) -> list[str]:
    status, body = await ask(world, path, **asked)
    assert status == 422, body
    assert "/invalid" in body["type"]
    return [error["pointer"] for error in body["errors"]]


async def test_a_messages_whole_life_is_found_by_its_order(world: World) -> None:
    message = await world.told(PUT_BACK, (Status.SENDING, Status.SENT, 2), reason="throttled")
    records = await found(world, order=ORDER)
    assert [(r["kind"], r["status"], r["reason"]) for r in records] == [
        ("transition", "sent", "throttled"),
        ("transition", "pending", "throttled"),
        ("decision", None, "requested"),
    ]
    assert records[0]["message"] == message
    assert records[0]["at"].startswith("2027-03-01T09:30:02")


async def test_filters_given_twice_mean_either_and_different_ones_both(world: World) -> None:
    await world.told(SENT)
    await world.told(FAILED, minutes=1, reason="address_invalid", name="gift")
    assert len(await found(world, status=["sent", "failed"])) == 2
    assert len(await found(world, status=["sent", "failed"], communication="gift")) == 1
    assert [r["status"] for r in await found(world, reason="address_invalid", channel="email")] == ["failed"]
    assert await found(world, status="sent", reason="address_invalid") == []


async def test_another_tenant_and_mode_see_nothing_whatever_they_ask(world: World) -> None:
    message = await world.told(SENT)
    for asked in ({}, {"order": ORDER}, {"message": message}, {"q": ORDER}):
        assert await found(world, "other", **asked) == []
        assert await found(world, **asked) != []
    assert (await ask(world, key="none"))[0] == 403


async def test_a_cursor_does_not_carry_one_tenants_search_to_another(world: World) -> None:
    for minute in range(5):
        await world.told(SENT, minutes=minute)
    _, page = await ask(world, limit=2)
    assert await refused(world, key="other", cursor=page["next_cursor"]) == ["cursor"]


async def test_addresses_are_masked_without_the_scope_and_bodies_left_out(world: World) -> None:
    await world.told(SENT, recipient="customer:kim@example.com")
    changed = ActionRecorded(
        actor="k1", action="recipient.change", object="customer:kim@example.com", at=NOW, before={"locale": "de"}
    )
    await world.hear(changed)
    masked = await found(world, address="kim@example.com")
    assert [record["recipient"] for record in masked] == ["customer:<address>"]
    (action,) = await found(world, action="recipient.change")
    assert ("kim@" in str(action), action["body"]) == (False, None)
    (whole,) = await found(world, "admin", action="recipient.change")
    assert (whole["object"], whole["body"]) == ("customer:kim@example.com", {"before": {"locale": "de"}})


async def test_an_address_is_hashed_and_found_wherever_it_was_used(world: World) -> None:
    await world.told(SENT)
    assert len(await found(world, address=" Kim@Example.com ")) == 1
    assert await found(world, address="kim@example.org") == []
    assert await refused(world, address="nobody@") == ["address"]


async def test_texts_are_searched_as_words_and_never_as_expressions(world: World) -> None:
    message = await world.told(FAILED, reason="provider_rejected")
    said = Rejection(
        message=message, recipient=KIM, attempt=1, channel="email", sender=1, address_id=17, address_hash=b"h" * 32,
        final=True, text="550 5.1.1 User unknown; see https://mail.example/help", at=NOW + timedelta(seconds=1),
        reply_code=550, enhanced_code="5.1.1",
    )  # fmt: skip
    await world.hear(MessageRejected(request_id=uuid4(), rejections=(said,)))
    for q in ("unknown user", '"user unknown"', "5.1.1", "USER -gmail", "user " + "unknown " * 8):
        assert [r["kind"] for r in await found(world, q=q)] == ["rejection"], q
    hostile = [
        "*",
        "* *",
        "*ser",
        "us?r",
        "user~",
        "/u.*/",
        "kind:rejection",
        "user AND nobody",
        "(user",
        '"user',
        "_all:*",
    ]
    hostile += ["us%", "user' or '1'='1", "user:*", "user & unknown", "user | nobody", "!user", "\\", "user\\"]
    for q in hostile:
        status, body = await ask(world, q=q)
        assert status in (200, 422), (q, body)
        assert not any(r["kind"] == "transition" for r in body.get("items", ())), q


async def test_what_a_search_costs_is_bounded(world: World) -> None:
    assert await refused(world, q="x" * 201) == ["q"]
    assert await refused(world, q=" ".join("abcdefghijk")) == ["q"]
    assert await refused(world, q="***") == ["q"]
    assert await refused(world, communication=[f"c{n}" for n in range(21)]) == ["communication"]
    assert await refused(world, communication="c" * 301) == ["communication/0"]
    assert await refused(world, limit=1001) == ["limit"]
    assert await refused(world, from_="2026-01-01T00:00:00Z", to="2027-02-01T00:00:00Z") == ["from"]
    assert await refused(world, from_="2027-02-01T00:00:00Z", to="2027-02-01T00:00:00Z") == ["from"]
    for beyond in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"):
        assert await refused(world, to=beyond) == ["to"]


async def test_what_is_not_known_is_refused_by_name(world: World) -> None:
    assert await refused(world, colour="red") == ["colour"]
    assert await refused(world, status="sendt") == ["status/0"]
    assert await refused(world, reason=["no_consent", "no_reason"]) == ["reason/1"]
    assert await refused(world, cause="not-an-id") == ["cause/0"]
    assert await refused(world, message="not-an-id") == ["message"]
    assert await refused(world, from_="2027-03-01T00:00:00") == ["from"]
    assert await refused(world, recipient="customer:1\x00") == ["recipient/0"]
    assert await refused(world, q="a\x00b") == ["q"]
    assert await refused(world, final="perhaps") == ["final"]
    assert await refused(world, reply_code="40000") == ["reply_code/0"]


UNCOUNTABLE: list[list[str]] = [[], ["colour"], ["day", "hour"], ["status", "status"], ["day", "status", "channel"]]


async def test_what_cannot_be_counted_by_is_refused(world: World) -> None:
    for by in UNCOUNTABLE:
        assert all(pointer.startswith("by") for pointer in await refused(world, "/counts", by=by)), by


async def test_a_zone_that_is_none_is_refused(world: World) -> None:
    for zone in ("Mars/Olympus", "../etc/passwd", "", "a\x00"):
        assert await refused(world, "/counts", by="day", zone=zone) == ["zone"]


async def test_records_are_counted_by_two_things_at_once(world: World) -> None:
    for minute in range(3):
        await world.told(SENT, minutes=minute)
    await world.told(FAILED, minutes=4, reason="address_invalid")
    status, body = await ask(world, "/counts", by=["day", "status"], zone="Europe/Berlin", kind="transition")
    assert (status, body["total"], body["by"]) == (200, 4, ["day", "status"])
    assert body["groups"] == [
        {"values": {"day": "2027-02-28T23:00:00Z", "status": "sent"}, "count": 3},
        {"values": {"day": "2027-02-28T23:00:00Z", "status": "failed"}, "count": 1},
    ]


async def test_pages_follow_one_another_with_the_first_ones_time_range(world: World) -> None:
    for minute in range(9):
        await world.told(SENT, minutes=minute)
    _, page = await ask(world, kind="transition", limit=4)
    items = page["items"]
    while page["next_cursor"]:
        world.runtime.clock.advance(timedelta(seconds=5))  # type: ignore[attr-defined]
        _, page = await ask(world, kind="transition", limit=4, cursor=page["next_cursor"])
        items += page["items"]
    assert len({item["id"] for item in items}) == len(items) == 9


async def test_a_cursor_of_another_search_or_of_nobody_is_refused(world: World) -> None:
    for minute in range(4):
        await world.told(SENT, minutes=minute)
    _, page = await ask(world, limit=2)
    cursor = page["next_cursor"]
    assert await refused(world, limit=2, cursor=cursor, status="sent") == ["cursor"]
    assert await refused(world, cursor="bm8") == ["cursor"]
    mine = read_cursor(cursor, str, datetime, datetime, list)
    assert mine is not None
    for forged in ([1, 2], "x", None, ["a", "b", "c"]):
        assert await refused(world, cursor=make_cursor(*mine[:3], forged)) == ["cursor"]
    assert await refused(world, cursor=make_cursor(mine[0], "x", "y", mine[3])) == ["cursor"]
    long = make_cursor(mine[0], "1970-01-01T00:00:00+00:00", mine[2], mine[3])
    assert set(await refused(world, cursor=long)) <= {"from", "cursor"}


async def test_a_search_that_reads_too_much_is_told_so(world: World, database: str) -> None:
    await world.told(SENT)
    object.__setattr__(world.service.deps.audit.records, "seconds", 0.2)
    blocker = await asyncpg.connect(database)
    try:
        async with blocker.transaction():
            await blocker.execute(
                "lock table history.transition in access exclusive mode"
            )  # as slow as a search can be
            for path, asked in (("", {}), ("/counts", {"by": "status"})):
                status, body = await ask(world, path, **asked)
                assert (status, body["errors"][0]["pointer"]) == (422, "from")
                assert "shorter time range" in body["detail"]
    finally:
        await blocker.close()
    assert len(await found(world)) == 2
