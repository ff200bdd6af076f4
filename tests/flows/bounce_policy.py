"""Shared by the flows of bounce policy: dozens of refusals, and their consequences."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.outcomes import Mode
from libs.messaging.reading import decoded
from services.bounce.domain.policy import Policy
from tests.flows.bounces import World

GONE = "550 5.1.1 no such account gsmtp"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
numbers = itertools.count()


def hash_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


async def said(
    world: World,
    names: Sequence[str],
    text: str = GONE,
    *,
    at: datetime | None = None,
    tenant: int = 1,
    mode: Mode = Mode.LIVE,
    **more: Any,
) -> None:
    """Refusals of mails to these recipients, each for its own message."""
    moment = at or world.clock.now
    rejections = tuple(
        Rejection(
            message=f"{UUID(int=next(numbers))}.1", recipient=f"customer:{name}", attempt=1, channel="email", sender=3,
            address_id=1, address_hash=hash_of(name), final=True, text=text, at=moment, from_domain="shop.example",
            **more,
        )
        for name in names
    )  # fmt: skip
    event = MessageRejected(request_id=uuid4(), rejections=rejections, communication="news")
    await world.hear(event, tenant=tenant, mode=mode)


async def rows(world: World, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(world.dsn)
    try:
        await connection.execute("set search_path to bounce")
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def barred(world: World) -> list[str]:
    found = await rows(world, "select address_hash from suppression where active order by 1")
    return [row[0].decode("latin-1").rstrip(".") for row in found]


def careful(world: World) -> None:
    """From now on, trust nobody."""
    facts = world.service.deps.facts
    object.__setattr__(world.service.deps, "facts", replace(facts, policy=Policy()))


def trusting(world: World) -> None:
    """From now on, no breaker opens."""
    facts = world.service.deps.facts
    object.__setattr__(world.service.deps, "facts", replace(facts, band=replace(facts.band, minimum=1_000_000)))


async def all_said(world: World) -> list[Any]:
    """Return all published events, bundles included."""
    found = await rows(world, "select * from outbox order by id")
    events: list[Any] = []
    for row in found:
        good, bad = decoded([row])
        assert not bad
        events += [entry.envelope.data for entry in good]
    return events
