"""The crash model's queries to providers: a true but late list, and the conclusions that are allowed."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.delivery.domain.outbound import Sender
from services.delivery.domain.verifying import Taken, Unclear
from services.delivery.ports import Tell
from tests.flows.delivery_world import World, now

LISTED = 0.3  # seconds until the list shows an accepted message

Key = tuple[str, int]  # message and attempt


class ShakyEnquiry:
    """Lists what was really accepted, some time later; some queries have no answer."""

    def __init__(
        self, rng: random.Random, listed: Mapping[str, Sequence[Taken]], point: Callable[[], Awaitable[None]]
    ) -> None:
        self._rng, self._listed, self._point = rng, listed, point

    def receipts_of(self, ref: str) -> Sequence[tuple[str, str]]:
        return [("model", f"{ref}:{number}") for number in range(12)]

    async def ask(self, sender: Sender, addresses: Sequence[str], deadline: float, tell: Tell) -> None:
        for index, address in enumerate(addresses):
            await self._point()
            shown = now() - timedelta(seconds=LISTED)
            listed = [taken for taken in self._listed.get(address, ()) if taken.at <= shown]
            tell(index, Unclear("500") if self._rng.random() < 0.2 else listed)

    async def close(self) -> None:
        return None


def verified_of(transitions: Sequence[tuple[UUID, Mapping[str, Any]]]) -> list[tuple[Key, str]]:
    """Return attempts whose doubt was settled by a query, and the provider's answer."""
    said = ("verified_sent", "verified_not_sent", "retries_exhausted")
    return [
        ((f"{t['notification_id']}.{t['address_id']}", t["attempt"]), t["reason"])
        for _, t in transitions
        if t["was"] == "unknown" and t["reason"] in said
    ]


async def check_verified(
    world: World, transitions: Sequence[tuple[UUID, Mapping[str, Any]]], outcomes: Mapping[Key, str]
) -> dict[str, int]:
    """Check that messages verified as sent had been accepted, those verified as not sent had not, and only `resend`
    repeats a doubt."""
    verified = verified_of(transitions)
    for key, reason in verified:
        taken = outcomes.get(key) == "accepted"
        assert taken == (reason == "verified_sent"), f"attempt {key} was {outcomes.get(key)}, and is {reason}"
    repeated = await world.fetch(
        "select a.* from attempt a join message m using (notification_id, address_id)"
        " join request r on r.id = m.request_id where a.status = 6 and r.on_unknown <> 1"
    )
    assert not repeated, f"in doubt, and sent again: {dict(repeated[0])}"
    return dict(Counter(reason for _, reason in verified))
