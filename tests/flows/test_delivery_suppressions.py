"""A suppression bars exactly what it names: its tenant's and mode's messages to the address, of its kind. It is looked
up before a first attempt and before every later one."""

from base64 import b64decode
from typing import Any

import pytest

from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Deferred, Sent
from services.delivery.domain.steering import Suppression
from tests.flows.delivery_world import TENANT, World

SENT, SUPPRESSED = 2, 5
LIVE = int(Mode.LIVE)
DUE = "update work set due_at = now() - interval '1 s'"
Realm = tuple[int, int]


async def bar(world: World, scope: int, realm: Realm = (TENANT, LIVE)) -> None:
    """Suppress the customer's address: for everything (0), or for marketing (1)."""
    reason = Reason.SUPPRESSED_COMPLAINT if scope else Reason.SUPPRESSED_BOUNCE
    hash_ = b64decode(world.tokens.recipients["customer:1"]["addresses"][0]["hash"])
    await world.ledger.suppress([Suppression(*realm, hash_, scope, int(reason), 1, True)])


async def mail(world: World, attempts: int, **release: Any) -> None:
    """Accept a mail to the customer; with two attempts, the first of them has just been put off by the provider."""
    if "customer:1" not in world.tokens.recipients:
        world.tokens.add("customer:1", "email", consents={"email": True})
    await world.request(await world.release(["email"], **release), ["customer:1"])
    if attempts > 1:
        world.provider.answer = lambda _: Deferred(Reason.PROVIDER_UNAVAILABLE, "503")
        await world.send_all()
        world.provider.answer = lambda _: Sent()


async def sent(world: World) -> Any:
    await world.execute(DUE)
    await world.send_all()
    return await world.statuses()


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("realm", [(TENANT, int(Mode.TEST)), (2, LIVE)], ids=["another mode", "another tenant"])
async def test_a_suppression_of_another_tenant_or_mode_bars_nothing(world: World, attempts: int, realm: Realm) -> None:
    await mail(world, attempts)
    await bar(world, 0, realm)
    assert await sent(world) == {(SENT, 0): 1}


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_complaint_bars_marketing_and_nothing_else_at_every_attempt(world: World, attempts: int) -> None:
    await mail(world, attempts, communication="order")
    await mail(world, attempts, communication="sale", marketing=True, topic="sale")
    await bar(world, 1)
    assert await sent(world) == {(SENT, 0): 1, (SUPPRESSED, Reason.SUPPRESSED_COMPLAINT): 1}
