"""A mail by SMTP waits beside its row, and its outcome is its fact: none is lost, read twice or listed twice."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.tokens import RecipientErased
from libs.errors import Transient
from services.bounce.handlers.mails import keep_mail, read_kept
from tests.flows.bounce_policy import DAY, rows
from tests.flows.bounces import KIM, NOW, World, report, world
from tests.flows.test_bounce_rereading import again, ruled

__all__ = ["world"]

# what the version before looks for, and how to hand over to it
_ITS_DUE = "select id from mail where state = 0 and due_at <= now()"
_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_PUT_BACK = _OPERATIONS.read_text().partition("```sql\nwith waiting as")[2].partition("```")[0]


async def listed(world: World, **query: str) -> list[tuple[str, str | None]]:
    return [(item["id"], item["outcome"]) for item in (await world.get("/v1/mails", **query))["items"]]


async def waiting(world: World) -> list[UUID]:
    return [row["id"] for row in await rows(world, "select id from mail_waiting order by id")]


async def other_words(world: World, count: int) -> list[UUID]:
    """Mails by SMTP that say the same in other words."""
    return [await world.over_smtp(report(world.path, words=f"550 5.1.1 no such user, said {n}")) for n in range(count)]


async def test_a_mail_that_was_read_waits_no_longer_and_its_row_is_as_it_arrived(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    (before,) = await rows(world, "select xmin, * from mail")
    assert await waiting(world) == [mail]
    assert await world.read_waiting() == 1
    assert await waiting(world) == []
    assert await world.read_waiting() == 0
    assert await rows(world, "select xmin, * from mail") == [before]
    assert await listed(world) == [(str(mail), "unknown-user")]


async def test_the_same_mail_twice_waits_once_and_is_not_read_again(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    assert await world.over_smtp(report(world.path)) == mail
    assert await world.read_waiting() == 1
    assert await world.over_smtp(report(world.path)) == mail
    assert await world.read_waiting() == 0


async def test_both_kinds_of_mails_share_a_batch(world: World) -> None:
    world.away = True
    for number in range(3):
        await world.hand_in(report(world.path, words=f"550 5.1.1 handed in, {number}"))
    await rows(world, "update mail set due_at = now()")
    sent = await other_words(world, 3)
    leased = await world.service.deps.mails.lease(4, 60)
    assert {mail.state for mail in leased.mails} == {"waiting"}
    assert {mail.id for mail in leased.mails} & set(sent) == set(sent[:2])  # oldest first
    rest = await world.service.deps.mails.lease(9, 60)
    assert len({mail.id for mail in (*leased.mails, *rest.mails)}) == 6


async def test_a_crash_before_the_commit_leaves_the_mail_waiting(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    mails = world.service.deps.mails
    lease = await mails.lease(5, 60)
    await rows(world, "alter table outbox rename to outbox_away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await read_kept(world.service.deps, lease.mails)
    await rows(world, "alter table outbox_away rename to outbox")
    assert await waiting(world) == [mail]
    assert await rows(world, "select from bounce") == []
    assert (await mails.lease(5, 60)).mails == []
    await rows(world, "update mail_lease set until = now()")
    assert await world.read_waiting() == 1
    assert await listed(world) == [(str(mail), "unknown-user")]


async def test_two_readers_of_the_same_mails_make_each_fact_once(world: World) -> None:
    """The first one's lease ran out while it was reading."""
    sent = await other_words(world, 3)
    mails = world.service.deps.mails
    first = await mails.lease(5, 0)
    second = await mails.lease(5, 60)
    assert [mail.id for mail in second.mails] == [mail.id for mail in first.mails] == sent
    await asyncio.gather(*(read_kept(world.service.deps, lease.mails) for lease in (first, second)))
    assert len(await rows(world, "select from bounce")) == 1  # all three say the same about one message
    assert sorted(await listed(world)) == sorted((str(mail), "unknown-user") for mail in sent)
    assert await waiting(world) == []


async def test_a_mail_that_two_readers_judged_by_different_rules_is_listed_once(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    slow = await world.service.deps.mails.lease(5, 0)
    await world.read_waiting()
    await ruled(world, "mailbox-full")
    await read_kept(world.service.deps, slow.mails)
    assert len(await rows(world, "select from bounce")) == 2
    assert await listed(world) == [(str(mail), "unknown-user")]
    assert (await world.get(f"/v1/mails/{mail}"))["outcome"] == "unknown-user"


async def test_a_slow_reader_neither_postpones_nor_closes_what_another_one_has_read(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    mails = world.service.deps.mails
    slow = await mails.lease(5, 0)
    await world.read_waiting()
    await mails.postpone({mail: 0.0})
    world.ledger.clear()  # to the slow one the message is not known any more
    await read_kept(world.service.deps, slow.mails)
    assert (await mails.lease(5, 60)).mails == []
    assert await listed(world) == [(str(mail), "unknown-user")]


async def test_another_mail_about_the_same_has_the_same_outcome(world: World) -> None:
    first, second = await other_words(world, 2)
    await world.read_waiting()
    third = await world.over_smtp(report(world.path))
    await world.read_waiting()
    assert sorted(await listed(world)) == sorted((str(mail), "unknown-user") for mail in (first, second, third))
    assert len((await world.get("/v1/bounces"))["items"]) == 1


async def test_facts_about_others_in_a_mail_are_not_its_outcome(world: World) -> None:
    other = b"Final-Recipient: rfc822; bo@customer.example\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\nFinal-Recipient"
    mail = await world.over_smtp(report(world.path).replace(b"Final-Recipient", other, 1))
    await world.read_waiting()
    assert len(await rows(world, "select from bounce where mail_id = $1", mail)) == 2
    assert await listed(world) == [(str(mail), "unknown-user")]


async def test_a_mail_waits_until_delivery_answers(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    world.away = True
    lease = await world.service.deps.mails.lease(5, 60)
    with pytest.raises(Transient):
        await read_kept(world.service.deps, lease.mails)
    await world.service.deps.mails.postpone({mail: 60})
    await world.service.deps.mails.release(lease)
    assert await world.read_waiting() == 0
    world.away = False
    await rows(world, "update mail set due_at = due_at - interval '60 seconds'")  # time passes
    assert await world.read_waiting() == 1
    assert await listed(world) == [(str(mail), "unknown-user")]


async def test_mail_about_nobody_is_closed_too(world: World) -> None:
    await keep_mail(world.service.deps, "postmaster@bounces.example", b"Subject: hello\n\nhello\n")
    await world.read_waiting()
    assert await waiting(world) == []
    assert [tuple(row) for row in await rows(world, "select state, outcome from mail")] == [
        (2, "no signed return path")
    ]


async def test_lists_mix_both_kinds_in_pages(world: World) -> None:
    expected = []
    for words in ("550 5.1.1 User unknown", "552 5.2.2 mailbox full", "550 5.7.1 message rejected as spam"):
        expected.append((await world.hand_in(report("somebody@else.example", words=words)))["id"])
        world.clock.advance(timedelta(hours=1))
        expected += [str(await world.over_smtp(report(world.path, words=words)))]
        if len(expected) < 6:
            world.clock.advance(timedelta(hours=1))
        await world.read_waiting()
    assert await rows(world, "select count(*) from bounce where is_outcome") == [(3,)]
    pages: list[str] = []
    cursor: dict[str, str] = {}
    while len(pages) < 9:
        page = await world.get("/v1/mails", limit=2, **cursor)
        pages += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == expected[::-1]


FILTERS: list[tuple[dict[str, str], bool]] = [
    ({"outcome": "unknown-user"}, True),
    ({"outcome": "mailbox-full"}, False),
    ({"state": "read"}, True),
    ({"state": "waiting"}, False),
    ({"message": "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17"}, True),
    ({"message": "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.18"}, False),
    ({"since": NOW.isoformat()}, True),
    ({"since": (NOW + DAY).isoformat()}, False),
    ({"until": NOW.isoformat()}, False),
]


async def test_lists_are_filtered_by_what_the_fact_says(world: World) -> None:
    await world.over_smtp(report(world.path))
    await world.read_waiting()
    for query, found in FILTERS:
        assert len(await listed(world, **query)) == found, query


async def test_read_again_it_is_listed_once_with_its_new_outcome(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    await world.read_waiting()
    await ruled(world, "mailbox-full")
    assert (await again(world, {"id": str(mail)}))["outcome"] == "mailbox-full"
    assert await listed(world) == [(str(mail), "mailbox-full")]
    assert [event.active for event in await world.suppressions()] == [True, False]
    facts = {fact["category"]: fact["void"] for fact in (await world.get("/v1/bounces"))["items"]}
    assert facts == {"unknown-user": True, "mailbox-full": False}


async def test_many_are_read_again_by_outcome_and_time(world: World) -> None:
    await world.over_smtp(report(world.path))
    await world.read_waiting()
    await world.hand_in(report(world.path, words="550 5.1.1 no such user here"))
    since, until = (NOW - DAY).isoformat(), (NOW + DAY).isoformat()
    for body, count in (
        ({"since": since, "until": until}, 2),
        ({"since": since, "until": until, "outcome": "unknown-user"}, 2),
        ({"since": since, "until": until, "outcome": "mailbox-full"}, 0),
        ({"since": since, "until": NOW.isoformat()}, 0),
    ):
        assert (await world.post("/v1/mails:reclassify", body | {"preview": True})).json()["count"] == count, body
    for key in ("test", "other"):
        asked = await world.post("/v1/mails:reclassify", {"since": since, "until": until}, key=key)
        assert asked.json()["count"] == 0
    assert (await world.post("/v1/mails:reclassify", {"since": since, "until": until})).json()["count"] == 2
    assert await world.read_waiting() == 2
    assert len(await listed(world, outcome="unknown-user")) == 2


async def test_what_waits_is_kept_and_what_was_read_goes(world: World) -> None:
    mails = world.service.deps.mails
    read = await world.over_smtp(report(world.path))
    await world.read_waiting()
    (unread,) = await other_words(world, 1)
    assert await mails.drop_raw_before(NOW + DAY) == 1
    assert (await world.post(f"/v1/mails/{read}:reclassify", None)).status_code == 409
    assert [row["id"] for row in await rows(world, "select id from mail where raw is not null")] == [unread]
    assert await mails.drop_before(NOW + 9999 * DAY) == 1
    assert [row["id"] for row in await rows(world, "select id from mail")] == [unread]
    assert await world.read_waiting() == 1
    assert await listed(world) == [(str(unread), "unknown-user")]


async def test_the_recipients_erasure_takes_the_mail_away(world: World) -> None:
    recipient = next(iter(world.ledger.values()))["recipient"]
    await world.over_smtp(report(world.path))
    await world.read_waiting()
    await world.hear(RecipientErased(recipient=recipient, at=NOW))
    assert await rows(world, "select from mail") == []
    assert await listed(world) == []
    await world.over_smtp(report(world.path))  # it arrives once more, late
    await world.read_waiting()
    assert [row["raw"] for row in await rows(world, "select raw from mail")] == [None]
    assert KIM not in str(await rows(world, "select * from bounce"))


async def test_the_version_before_leaves_alone_what_waits_here(world: World) -> None:
    await world.over_smtp(report(world.path))
    assert await rows(world, _ITS_DUE) == []
    await world.read_waiting()
    assert await rows(world, _ITS_DUE) == []


async def test_what_the_version_before_has_stored_is_read(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    await rows(world, f"with waiting as{_PUT_BACK}")  # as it stores them
    assert [row["id"] for row in await rows(world, _ITS_DUE)] == [mail]
    assert await world.read_waiting() == 1
    assert await listed(world) == [(str(mail), "unknown-user")]
    assert await world.read_waiting() == 0


async def test_tenants_see_only_their_own(world: World) -> None:
    mail = await world.over_smtp(report(world.path))
    await world.read_waiting()
    for key in ("test", "other"):
        assert (await world.get("/v1/mails", key))["items"] == []
        async with world.client(key) as client:
            assert (await client.get(f"/v1/mails/{mail}")).status_code == 404
        assert (await world.post(f"/v1/mails/{mail}:reclassify", None, key=key)).status_code == 404
