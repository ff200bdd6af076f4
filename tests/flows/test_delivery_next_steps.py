"""The plan's next step follows only when nothing of the step before it can have arrived."""

import pytest

from libs.contracts.outcomes import ReceiptKind
from libs.contracts.reasons import Reason
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.outbound import Outbound
from services.delivery.domain.outcomes import Ambiguous, Outcome, Rejected, Sent
from tests.flows.delivery_world import World, now

SENT, FAILED, UNKNOWN = 2, 3, 6
DEAD = Rejected(Reason.DEVICE_UNREGISTERED, "UNREGISTERED", code=404, retire=True)


async def reported(world: World, kind: ReceiptKind) -> None:
    """The provider reports on the message whose outcome is unknown."""
    ((notification, address),) = await world.fetch("select notification_id, address_id from message where status = 6")
    news = ReceiptNews("m", "e1", notification, address, 1, kind, now(), Reason.PROVIDER_GAVE_UP)
    assert (await world.ledger.receive([news])).new == 1
    await world.send_all()


@pytest.mark.parametrize(
    ("kind", "mails"), [(ReceiptKind.DELIVERED, 0), (ReceiptKind.FAILED, 1)], ids=["it arrived", "it failed"]
)
async def test_no_mail_follows_while_one_device_may_have_been_reached(
    world: World, kind: ReceiptKind, mails: int
) -> None:
    """One device is gone, the other never answered. The mail follows if that one is reported as failed too."""
    world.tokens.add("customer:1", "push", "push", "email")
    dead, silent, mail = (address["value"] for address in world.tokens.recipients["customer:1"]["addresses"])
    answers: dict[str, Outcome] = {dead: DEAD, silent: Ambiguous(Reason.TIMED_OUT, "no answer"), mail: Sent()}

    def answer(message: Outbound) -> Outcome:
        return answers[message.address]

    world.provider.answer = answer
    await world.request(await world.release(["push"], ["email"]), ["customer:1"])
    await world.send_all()
    assert await world.statuses() == {(FAILED, Reason.DEVICE_UNREGISTERED): 1, (UNKNOWN, Reason.TIMED_OUT): 1}
    await reported(world, kind)
    assert len(world.provider.calls) == 2 + mails
