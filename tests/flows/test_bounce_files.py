"""Facts and suppressions for other systems: a feed that leaves nothing out, and files."""

import asyncio
import csv
import io
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from libs.contracts.outcomes import Mode
from libs.errors import TooManyRequests, Unavailable
from services.bounce.adapters.postgres import PostgresReads
from tests.flows.bounce_policy import HOUR, rows, said
from tests.flows.bounces import NOW, World, world

__all__ = ["world"]

SINCE = (NOW - HOUR).isoformat()
_IDLE_TRANSACTIONS = """
select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'
"""


async def fed(world: World, cursor: str | None) -> tuple[list[str], str | None]:
    query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
    page = await world.get("/v1/bounces:feed", **query)
    return [item["recipient"] for item in page["items"]], page["next_cursor"]


async def test_a_feed_gives_each_fact_once_in_pages_and_goes_on_later(world: World) -> None:
    assert await fed(world, None) == ([], None)
    await said(world, ["a", "b", "c"])
    seen, cursor = await fed(world, None)
    rest, cursor = await fed(world, cursor)
    assert len(seen) == 2
    assert sorted(seen + rest) == ["customer:a", "customer:b", "customer:c"]
    assert await fed(world, cursor) == ([], cursor)
    await said(world, ["d"], at=NOW - timedelta(days=9))  # said long ago, received now
    assert (await fed(world, cursor))[0] == ["customer:d"]
    assert (await world.get("/v1/bounces:feed", key="other"))["items"] == []


async def test_a_feed_waits_for_a_transaction_that_still_runs(world: World) -> None:
    connection = await asyncpg.connect(world.dsn)
    try:
        transaction = connection.transaction()
        await transaction.start()
        # a fact of this transaction would come before the next one
        await connection.execute("select pg_current_xact_id()")
        await said(world, ["late"])
        assert await fed(world, None) == ([], None)
        await transaction.rollback()
    finally:
        await connection.close()
    assert (await fed(world, None))[0] == ["customer:late"]


@pytest.mark.parametrize("cursor", ["WzQyXQ", "WyJ4IiwxXQ", "WyI0MiIsLTFd", "%%%"])
async def test_a_cursor_of_another_list_is_refused(world: World, cursor: str) -> None:
    async with world.client() as client:
        answer = await client.get("/v1/bounces:feed", params={"cursor": cursor})
    assert answer.status_code in (400, 422), answer.text


async def exported(world: World, path: str, **query: Any) -> tuple[str, str]:
    async with world.client() as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.headers["content-type"], answer.text


async def test_facts_are_a_file_of_lines_or_of_a_table(world: World) -> None:
    await said(world, [f"u{n}" for n in range(450)], "=cmd() 452 4.2.2 mailbox full, gsmtp")
    media, text = await exported(world, "/v1/bounces:export", since=SINCE)
    assert media == "application/x-ndjson"
    lines = [json.loads(line) for line in text.splitlines()]
    assert len({line["id"] for line in lines}) == 450
    media, text = await exported(world, "/v1/bounces:export", since=SINCE, format="csv")
    assert media == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert rows[0]["text"].startswith("'=cmd()")  # a spreadsheet would execute it
    assert (await exported(world, "/v1/bounces:export", since="2099-01-01T00:00:00Z", until="2099-01-02T00:00:00Z"))[
        1
    ] == ""


async def test_suppressions_are_a_file_too(world: World) -> None:
    await said(world, ["ann", "bob"])
    _, text = await exported(world, "/v1/suppressions:export", since=SINCE, format="csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {(row["recipient"], row["policy"], row["active"]) for row in rows} == {
        ("customer:ann", "trusted-provider", "True"), ("customer:bob", "trusted-provider", "True"),
    }  # fmt: skip


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "yesterday"])
async def test_a_time_that_cannot_be_is_refused(world: World, since: str) -> None:
    async with world.client() as client:
        for path in ("/v1/bounces:export", "/v1/statistics", "/v1/reputation"):
            assert (await client.get(path, params={"since": since})).status_code == 422, path


@pytest.mark.parametrize("key", ["test", "other"])
async def test_files_feed_and_figures_hold_nothing_of_another_tenant_or_mode(world: World, key: str) -> None:
    await said(world, ["ann"])
    await said(world, ["bob"], "550 5.7.1 Message rejected due to content policy: listed at 192.0.2.1")
    await world.post("/v1/suppressions", {"address": "ann@example.com", "note": "asked for it"})
    for who, some in (("key", True), (key, False)):
        async with world.client(who) as client:
            for path in ("bounces", "suppressions"):
                answer = await client.get(f"/v1/{path}:export", params={"since": SINCE})
                assert (answer.status_code, bool(answer.text)) == (200, some), path
        for path, field in (("bounces:feed", "items"), ("statistics", "rows"), ("reputation", "items")):
            assert bool((await world.get(f"/v1/{path}", key=who))[field]) is some, path


async def test_an_export_that_nobody_reads_is_cut_off_and_gives_its_place_back(world: World) -> None:
    await said(world, [f"u{n}" for n in range(600)])  # more than one fetch
    reads = PostgresReads(world.service.deps.reads.database, max_exports=1, export_idle_seconds=1.0)

    def export() -> Any:
        return reads.export("bounces", (1, Mode.LIVE), (NOW - HOUR, NOW + HOUR))

    async def begun() -> Any:
        while True:
            stalled = export()
            try:
                await anext(stalled)
            except Unavailable:
                continue  # a busy machine paused for a second: that one was cut off before its first row
            return stalled

    stalled = await begun()
    with pytest.raises(TooManyRequests, match="1 exports are running"):
        await anext(export())
    while await rows(world, _IDLE_TRANSACTIONS):  # noqa: ASYNC110 - Postgres sets no event
        await asyncio.sleep(0.1)
    with pytest.raises(Unavailable):
        async for _ in stalled:
            pass
    object.__setattr__(reads, "export_idle_seconds", 60.0)  # a busy machine may pause between two fetches
    assert len([row async for row in export()]) == 600


async def test_an_export_beyond_the_limit_is_answered_429(world: World) -> None:
    await said(world, ["ann"])
    object.__setattr__(world.service.deps.reads, "max_exports", 0)
    async with world.client() as client:
        answer = await client.get("/v1/bounces:export", params={"since": SINCE})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")


async def test_a_note_with_a_line_break_stays_one_cell(world: World) -> None:
    """A bare CR ends a line too: what follows it would be the next row's first cell, and may be a formula."""
    note = "called\r=cmd()"
    await world.post("/v1/suppressions", {"address": "ann@example.com", "note": note})
    _, text = await exported(world, "/v1/suppressions:export", since=SINCE, format="csv")
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["note"] == note
