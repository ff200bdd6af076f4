"""Many bounce mails at once: each gets a verdict and counts for its own day; repeats are duplicates."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import asyncpg

from libs import exact_json
from tests.flows.bounces import KIM, MESSAGE, NOW, World, report, until, world

__all__ = ["world"]


def zipped(mails: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in mails.items():
            archive.writestr(name, raw)
    return file.getvalue()


async def pieces(raw: bytes, size: int = 1_000) -> AsyncIterator[bytes]:
    for at in range(0, len(raw), size):
        yield raw[at : at + size]


async def handed_in(world: World, raw: bytes, kind: str = "application/zip", key: str = "key") -> list[dict[str, Any]]:
    async with world.client(key) as client:
        answer = await client.post("/v1/mails:import", content=pieces(raw), headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    return [exact_json.loads(line) for line in answer.content.splitlines()]


async def test_a_zip_of_mails_is_stored_and_read(world: World) -> None:
    mails = {"cur/1.eml": report(world.path), "cur/2.eml": b"  ", "cur/3.eml": report("nobody@shop.example")}
    kept, refused, stray, sums = await handed_in(world, zipped(mails))
    assert sums == {"mails": 3, "kept": 2, "duplicate": 0, "refused": 1, "problem": None}
    assert refused == {"name": "cur/2.eml", "result": "refused", "reason": "It is empty."}
    assert (kept["name"], kept["result"]) == ("cur/1.eml", "kept")

    async def read() -> bool:
        return [(await world.get(f"/v1/mails/{one['id']}"))["state"] for one in (kept, stray)] == [
            "read",
            "backscatter",
        ]

    await until(world, read)
    assert [fact["category"] for fact in (await world.get("/v1/bounces", message=MESSAGE))["items"]] == ["unknown-user"]
    again = await handed_in(world, zipped(mails))
    assert again[-1] == {"mails": 3, "kept": 0, "duplicate": 2, "refused": 1, "problem": None}
    assert again[0]["id"] == kept["id"]


async def test_a_repeated_mail_of_an_mbox_is_a_duplicate(world: World) -> None:
    box = b"".join(b"From MAILER-DAEMON Mon Mar  1 09:00:00 2027\n" + report(world.path) + b"\n" for _ in range(2))
    *mails, sums = await handed_in(world, box, "application/mbox")
    assert [mail["result"] for mail in mails] == ["kept", "duplicate"]
    assert mails[0]["id"] == mails[1]["id"]
    assert (sums["kept"], sums["duplicate"]) == (1, 1)


async def test_a_mail_counts_for_the_day_on_which_it_arrived(world: World) -> None:
    arrived = NOW - timedelta(days=9)
    received = f"Received: from mx (mx [192.0.2.1])\r\n\tby in.shop.example; {format_datetime(arrived)}\r\n".encode()
    (mail, _) = await handed_in(world, zipped({"1.eml": received + report(world.path)}))

    async def read() -> bool:
        return bool((await world.get(f"/v1/mails/{mail['id']}"))["state"] == "read")

    await until(world, read)
    (fact,) = (await world.get("/v1/bounces"))["items"]
    assert fact["at"] == arrived.isoformat().replace("+00:00", "Z")


async def test_two_tenants_may_submit_the_same_mail(world: World) -> None:
    (ours, _), (theirs, _) = [
        await handed_in(world, zipped({"a": report(world.path)}), key=key) for key in ("key", "other")
    ]
    assert ours["id"] != theirs["id"]
    async with world.client() as client:
        assert (await client.get(f"/v1/mails/{theirs['id']}")).status_code == 404


UNREADABLE: list[tuple[str, bytes, int]] = [
    ("application/zip", b"no zip", 422),
    ("application/mbox", b"no mbox", 422),
    ("application/zip", b"", 422),
    ("application/json", b"{}", 415),
    ("message/rfc822", b"a: b\n\n", 415),
]


async def test_an_unreadable_archive_is_a_problem(world: World) -> None:
    for kind, raw, status in UNREADABLE:
        async with world.client() as client:
            answer = await client.post("/v1/mails:import", content=raw, headers={"content-type": kind})
        assert answer.status_code == status, kind
        assert answer.headers["content-type"] == "application/problem+json", kind


async def test_a_damaged_archive_keeps_the_mails_before_the_damage_and_reports_it(world: World) -> None:
    raw = zipped({f"{n}.eml": report(world.path, words=f"550 5.1.1 User {n} unknown") for n in range(600)})
    *mails, sums = await handed_in(world, raw[: len(raw) // 2])
    assert len(mails) == sums["mails"] > 200
    assert sums["kept"] in (sums["mails"], sums["mails"] - 1)
    assert "truncated" in sums["problem"]
    done = (await handed_in(world, raw))[-1]
    assert (done["duplicate"], done["kept"]) == (sums["kept"], 600 - sums["kept"])


async def test_a_batch_takes_few_statements(world: World) -> None:
    mails = zipped({f"{n}.eml": report(world.path, words=f"550 5.1.1 User {n} unknown") for n in range(2_000)})
    connection = await asyncpg.connect(world.dsn)
    before = await connection.fetchval("select xact_commit from pg_stat_database where datname = current_database()")
    assert (await handed_in(world, mails))[-1]["kept"] == 2_000
    await connection.execute("select pg_stat_force_next_flush()")
    await asyncio.sleep(1.1)  # the interval at which sessions report their counts
    after = await connection.fetchval("select xact_commit from pg_stat_database where datname = current_database()")
    assert after - before < 40
    await connection.close()


async def test_backscatter_is_counted_at_once(world: World) -> None:
    await handed_in(world, zipped({f"{n}.eml": report("x@shop.example", words=f"550 no {n} {KIM}") for n in range(50)}))
    connection = await asyncpg.connect(world.dsn)

    async def count() -> int:
        return int(await connection.fetchval("select coalesce(sum(count), 0) from bounce.backscatter"))

    async def all_read() -> bool:
        return bool(await connection.fetchval("select not exists (select from bounce.mail where state = 0)"))

    await until(world, all_read)
    assert await count() == 50
    await connection.close()
