"""Waiting mails are read by one reader at a time, and by another one if that one has gone."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.outcomes import Mode
from services.bounce.domain.mime import MAX_KEPT
from services.bounce.handlers.mails import keep_mail, read_kept
from services.bounce.ports.mails import Lease
from services.bounce.settings import BounceSettings
from tests.flows.bounces import World, report, shown_state, until, world

__all__ = ["world"]


async def test_readers_share_what_waits(world: World) -> None:
    waiting = await wait(world, 5)
    mails = world.service.deps.mails
    leases = await asyncio.gather(*(mails.lease(2, 60) for _ in range(4)))
    taken = [mail for lease in leases for mail in ids(lease)]
    assert sorted(taken) == sorted(waiting)  # each once
    assert sorted(len(lease.mails) for lease in leases) == [0, 1, 2, 2]
    await mails.release(next(lease for lease in leases if len(lease.mails) == 1))
    assert len((await mails.lease(5, 60)).mails) == 1  # only the one that was given back unread


async def test_a_reader_that_dies_gives_its_mails_back(world: World) -> None:
    (waiting,) = await wait(world, 1)
    mails = world.service.deps.mails
    assert ids(await mails.lease(5, 60)) == [waiting]
    assert ids(await mails.lease(5, 60)) == []
    await row(world, "update bounce.mail_lease set until = until - interval '60 seconds' returning 1")  # time passes
    assert ids(await mails.lease(5, 60)) == [waiting]
    assert await row(world, "select count(*) from bounce.mail_lease") == 1  # expired leases are cleaned up


async def test_what_was_read_waits_no_longer_and_what_was_put_off_waits_for_its_time(world: World) -> None:
    read, put_off = await wait(world, 2)
    mails = world.service.deps.mails
    lease = await mails.lease(5, 60)
    world.away = False
    await read_kept(world.service.deps, [mail for mail in lease.mails if mail.id == read])
    await mails.postpone({put_off: 60.0})
    await mails.release(lease)
    assert ids(await mails.lease(5, 60)) == []
    assert await row(world, "select array_agg(attempts order by id) from bounce.mail") == [1, 1]
    assert await row(world, "select count(*) from bounce.mail_lease") == 0


async def test_leases_of_the_version_before_are_kept(world: World) -> None:
    """It writes a future due time into the mail; both versions run during a rolling update."""
    theirs, ours = await wait(world, 2)
    await row(world, "update bounce.mail set due_at = now() + interval '60 seconds' where id = $1 returning 1", theirs)
    assert ids(await world.service.deps.mails.lease(5, 60)) == [ours]


async def test_of_a_mail_with_fifteen_megabytes_of_pictures_the_report_is_read_and_one_kept(world: World) -> None:
    assert BounceSettings().max_mail_bytes >= 15_000_000
    raw = report(world.path) + b"\r\n" + b"A" * 15_000_000
    mail = await keep_mail(world.service.deps, "", raw, (1, Mode.LIVE))
    await read_kept(world.service.deps, [mail])
    assert (await world.get(f"/v1/mails/{mail.id}"))["outcome"] == "unknown-user"
    assert await row(world, "select array[size, octet_length(raw)] from bounce.mail") == [len(raw), MAX_KEPT]
    again = await keep_mail(world.service.deps, "", raw, (1, Mode.LIVE))
    assert again.id == mail.id  # by all of its bytes


async def wait(world: World, count: int) -> list[UUID]:
    """Submit `count` mails that delivery could not be asked about; return them, due again, in order of their ids."""
    world.away = True
    for number in range(count):
        await world.hand_in(report(world.path, words=f"550 5.1.1 no such user, said {number}"))
    return list(
        await row(
            world,
            "with due as (update bounce.mail set due_at = now() returning id) "
            "select array_agg(id order by id) from due",
        )
    )


def ids(lease: Lease) -> list[UUID]:
    return [mail.id for mail in lease.mails]


async def row(world: World, statement: str, *values: object) -> Any:
    connection = await asyncpg.connect(world.dsn)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def test_a_mail_handed_in_while_the_rules_are_compiled_is_answered_and_read_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start of an installation compiles for a minute; whoever calls gives up before."""
    monkeypatch.setattr("services.bounce.handlers.mails._RULES_SECONDS", 0.1)
    ready, rulebook = asyncio.Event(), world.service.deps.rulebook

    class Compiling:
        async def current(self) -> Any:
            await ready.wait()
            return await rulebook.current()

    object.__setattr__(world.service.deps, "rulebook", Compiling())
    handed_in = await world.hand_in(report(world.path))
    assert handed_in["state"] == "waiting"
    ready.set()
    await until(world, lambda: shown_state(world, handed_in["id"], "read"))
    assert (await world.get(f"/v1/mails/{handed_in['id']}"))["outcome"] == "unknown-user"
