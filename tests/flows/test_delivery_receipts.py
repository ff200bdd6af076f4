"""A receipt counts whenever it comes, once, and only for messages of those who may report on them."""

from typing import Any

import pytest

from libs.contracts.outcomes import Lane, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.delivery.adapters.postgres.nonces import PostgresNonces
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.work import Group, Message, Result
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from tests.flows.delivery_world import TENANT, World, now

SENT, FAILED = 2, 3


async def calling(world: World) -> tuple[Any, Message]:
    """A message whose provider has been called and has not answered yet; and its request."""
    world.tokens.add("customer:1", "push")
    envelope = await world.request(await world.release(["push"]), ["customer:1"])
    group = Group(Lane.BULK, await world.ledger.lease(Lane.BULK, (10, 100), 30.0), 0.0)
    made = await prepare(world.line(), group)
    await route(world.line(), made, 0.0)
    (message,) = (await world.ledger.claim(made)).messages
    return envelope.data.request_id, message


def about(message: Message, kind: ReceiptKind) -> ReceiptNews:
    reason = Reason.PROVIDER_GAVE_UP if kind is ReceiptKind.FAILED else Reason.NONE
    return ReceiptNews("model", "e1", *message.key, 1, kind, now(), reason)


@pytest.mark.parametrize(
    ("kind", "answer", "account"),
    [
        (ReceiptKind.FAILED, Status.SENT, {"recipients": 1, "failed": 1}),
        (ReceiptKind.DELIVERED, Status.UNKNOWN, {"recipients": 1, "sent": 1}),
    ],
    ids=["it failed", "it arrived"],
)
async def test_a_receipt_that_overtakes_the_providers_answer_stands(
    world: World, kind: ReceiptKind, answer: Status, account: dict[str, int]
) -> None:
    request, message = await calling(world)
    for new in (1, 0):  # the provider repeats it
        assert (await world.ledger.receive([about(message, kind)])).new == new
    reason = Reason.TIMED_OUT if answer is Status.UNKNOWN else Reason.NONE
    await world.ledger.record([Result(message, answer, reason, "ref")], [message.row])
    assert await world.account(request) == account
    assert len(await world.events("request.settled")) == 1
    assert len(await world.events("receipt.recorded")) == 1


@pytest.mark.parametrize("realm", [(TENANT, Mode.TEST), (2, Mode.LIVE)], ids=["another mode", "another tenant"])
async def test_a_receipt_from_another_tenants_or_modes_sender_changes_nothing(
    world: World, realm: tuple[int, Mode]
) -> None:
    request, message = await calling(world)
    await world.ledger.record([Result(message, Status.SENT, Reason.NONE, "ref")], [message.row])
    assert await world.ledger.receive([about(message, ReceiptKind.FAILED)], realm) == (0, 0)
    assert await world.account(request) == {"recipients": 1, "sent": 1}
    assert await world.ledger.receive([about(message, ReceiptKind.FAILED)], (TENANT, Mode.LIVE)) == (1, 1)
    assert await world.account(request) == {"recipients": 1, "failed": 1}


async def test_a_nonce_stays_with_its_first_body(world: World) -> None:
    """Mailgun signs the token and the time, not the body: whoever saw one webhook could send others with its token."""
    nonces = PostgresNonces(world.database)
    bodies = (b"first", b"forged", b"forged", b"first")
    assert [await nonces.bind("mailgun:1", "token", body, now()) for body in bodies] == [True, False, False, True]
    assert await nonces.bind("mailgun:2", "token", b"other", now())
