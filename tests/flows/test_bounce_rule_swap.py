"""A rule set replaces another while mails are judged, on one replica and on two: no batch sees both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4, uuid5

import pytest

from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Mode
from libs.ids import message_id
from libs.service import Runtime, Service
from libs.service_client import Transport
from services.bounce.adapters import rulebook
from services.bounce.app import create_service
from services.bounce.handlers.refusals import record_rejections
from services.bounce.settings import BounceSettings
from tests.flows.bounce_policy import rows
from tests.flows.bounces import NOTIFICATION, NOW, World, world
from tests.flows.test_bounce_rules import publish, put
from tests.waiting import eventually

__all__ = ["world"]

FIRST, SECOND = "550 5.1.1 one house rule", "550 5.1.1 two house rules"
# each set's categories for the two texts; a batch with both must match one row of this
SETS = {"red": ("policy", "throttled"), "blue": ("virus", "network")}


@pytest.fixture
async def replica(
    world: World, make_runtime: Callable[[str], Runtime], transports: dict[str, Transport], tmp_path: Path
) -> AsyncIterator[Service]:
    """A second process over the same Postgres, simulated: it shares no state with the first."""
    runtime = replace(make_runtime(world.dsn), data_dir=tmp_path / "second")
    service = create_service(runtime, BounceSettings(smtp_port=1))
    async with service.running():
        yield service


async def dress(world: World, name: str, version: int) -> dict[str, Any]:
    """Publish the set of this name: both rules change at once."""
    for id_, words, category in zip(("first", "second"), ("one house", "two house"), SETS[name], strict=True):
        etag = f'"{version}"' if version else None
        answer = await put(world, id_, etag, contains=words, category=category, examples=[])
        assert answer.is_success, answer.text
    published = await publish(world, name)
    assert published.status_code == 201, published.text
    return dict(published.json())


def batch(name: str) -> MessageRejected:
    """Return both texts, ten times each, for different messages."""
    rejections = [
        Rejection(
            message=message_id(uuid5(NOTIFICATION, name), number),
            recipient=f"customer:{name}",
            attempt=1,
            channel="email",
            sender=1,
            address_id=number,
            address_hash=uuid5(NOTIFICATION, f"{name}{number}").bytes * 2,
            final=True,
            text=(FIRST, SECOND)[number % 2],
            at=NOW,
        )
        for number in range(20)
    ]
    return MessageRejected(request_id=NOTIFICATION, rejections=tuple(rejections))


async def hear(service: Service, event: MessageRejected) -> None:
    envelope = Envelope(
        id=uuid4(), type=event.TYPE, source=event.SOURCE, time=NOW, tenant=1, mode=Mode.LIVE, key="k", data=event
    )
    await record_rejections(service.deps, [envelope])


async def load(service: Service, name: str, stop: asyncio.Event) -> None:
    """Send one batch after another until told to stop."""
    count = 0
    while not stop.is_set():
        await hear(service, batch(f"{name}-{count}"))
        count += 1


async def both_judge_by(world: World, digest: str) -> None:
    """Wait until both replicas have judged further batches by this set."""

    async def judged_here_and_there() -> tuple[int, int]:
        query = "select count(*) from bounce where rule_set = $1 and recipient like $2"
        here, there = [(await rows(world, query, digest, f"customer:{side}%"))[0][0] for side in ("here", "there")]
        return here, there

    before = await judged_here_and_there()

    async def both_have() -> bool:
        return all(now > then for now, then in zip(await judged_here_and_there(), before, strict=True))

    await eventually(both_have)


async def judged(world: World) -> dict[str, set[tuple[str, str, str]]]:
    """Return, by batch, the text, the category and the rule set of its facts."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for row in await rows(world, "select recipient, text, category, rule_set from bounce"):
        found.setdefault(row["recipient"], set()).add((row["text"], row["category"], row["rule_set"]))
    return found


async def test_no_batch_is_judged_by_half_of_each(
    world: World, replica: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulebook, "_LOOK_SECONDS", 0.02)
    red = (await dress(world, "red", 0))["digest"]
    known = {red: "red"}
    stop = asyncio.Event()
    loads = [asyncio.create_task(load(world.service, f"here{n}", stop)) for n in range(3)]
    loads += [asyncio.create_task(load(replica, f"there{n}", stop)) for n in range(3)]
    await both_judge_by(world, red)
    for turn, name in enumerate(("blue", "red", "blue"), start=1):
        digest = (await dress(world, name, turn))["digest"]
        known[digest] = name
        await both_judge_by(world, digest)
    rolled = await world.post("/v1/rule-sets/1:roll-back", {"note": "back to red"})
    assert known[rolled.json()["rule_set"]["digest"]] == "red"
    await both_judge_by(world, red)
    stop.set()
    await asyncio.gather(*loads)

    seen: dict[str, set[str]] = {"here": set(), "there": set()}
    for recipient, facts in (await judged(world)).items():
        ((digest, first, second),) = {
            (digest, *(next(c for t, c, d in facts if t == text and d == digest) for text in (FIRST, SECOND)))
            for digest in {digest for _, _, digest in facts}
        }
        assert (first, second) == SETS[known[digest]], recipient
        assert len(facts) == 2
        seen["here" if ":here" in recipient else "there"].add(known[digest])
    assert seen == {"here": {"red", "blue"}, "there": {"red", "blue"}}


async def test_another_replica_hears_of_it_by_itself(world: World, replica: Service) -> None:
    before = (await replica.deps.rulebook.current()).rules.digest
    made = await dress(world, "red", 0)
    assert made["digest"] != before

    async def heard() -> bool:
        return bool((await replica.deps.rulebook.current()).rules.digest == made["digest"])

    await eventually(heard)  # it polls every second


async def test_the_rules_go_on_while_postgres_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "_LOOK_SECONDS", 0.0)
    before = await world.service.deps.rulebook.current()
    assert world.service.database is not None
    await world.service.database.close()
    assert await world.service.deps.rulebook.current() is before
    await world.service.database.open()


@pytest.mark.timeout(600)  # the compiler alone needs ten seconds of a processor, which a busy machine stretches
async def test_one_database_over_all_takes_the_place_of_two(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    book = world.service.deps.rulebook
    made = await dress(world, "red", 0)
    beside = await book.current()
    monkeypatch.setattr(rulebook, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(rulebook, "_SETTLED_SECONDS", 0.0)
    # compiled in a process of its own, however busy the machine
    while (joined := await book.current()) is beside:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.05)
    assert (joined.rules.digest, type(joined.scan) is type(beside.scan)) == (made["digest"], False)
    assert list((world.runtime.data_dir / "bounce-rules").glob(f"{made['digest']}-*.hsdb"))
    await hear(world.service, batch("joined"))
    assert {(t, c) for t, c, _ in (await judged(world))["customer:joined"]} == {
        (FIRST, "policy"),
        (SECOND, "throttled"),
    }
