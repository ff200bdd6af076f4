"""A later attempt repeats the checks of the first one: what was allowed then may not be any more."""

from datetime import timedelta

from libs.contracts.reasons import Reason
from tests.flows.delivery_world import World
from tests.flows.test_delivery_suppressions import mail, sent

SENT, SKIPPED = 2, 4


async def test_a_consent_withdrawn_between_two_attempts_is_obeyed(world: World) -> None:
    await mail(world, 2, marketing=True, topic="sale")
    world.tokens.recipients["customer:1"]["consents"] = {"email": False}
    assert await sent(world) == {(SKIPPED, Reason.NO_CONSENT): 1}
    assert [call.attempt for call in world.provider.calls] == [1]


async def test_quiet_hours_that_began_between_two_attempts_are_obeyed(world: World) -> None:
    await mail(world, 2, obeys_quiet_hours=True)
    begin, end = (world.clock() + timedelta(hours=hours) for hours in (-6, 6))
    world.tokens.recipients["customer:1"]["quiet_hours"] = {
        "from": f"{begin:%H:%M}", "to": f"{end:%H:%M}", "zone": "UTC",
    }  # fmt: skip
    assert (SENT, 0) not in await sent(world)
    assert [call.attempt for call in world.provider.calls] == [1]
    world.tokens.recipients["customer:1"]["quiet_hours"] = None
    assert await sent(world) == {(SENT, 0): 1}
