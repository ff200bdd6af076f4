"""Facts become sentences, and documents contain no address."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import HoldPlaced, ReplyReceived
from libs.contracts.envelope import Envelope, Event
from libs.contracts.outcomes import Channel, Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.contracts.tokens import DeviceRetired, RecipientChanged
from services.history.domain.chain import in_order, of_decisions, of_document, of_message, sentence_of
from services.history.domain.documents import document_of
from services.history.domain.facts import Decision, Message, Receipt, Rejection, Transition, address_key

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def heard(event: Event, **more: Any) -> Envelope:
    return Envelope(
        id=uuid4(), type=event.TYPE, source="x", time=NOON, tenant=1, mode=Mode.LIVE, key="k", data=event, **more
    )


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("detail", [None, "the field {total} is missing"])
def test_every_reason_reads_as_a_sentence(reason: Reason, detail: str | None) -> None:
    said = sentence_of(reason, detail)
    assert "{detail}" not in said
    assert said.endswith(".")


@pytest.mark.parametrize("status", list(Status))
def test_every_transition_has_a_sentence(status: Status) -> None:
    moved = Transition(NOON, 2, Status.SENDING, status, Reason.THROTTLED, Channel.EMAIL)
    told = Message(uuid4(), 1, "c", uuid4(), uuid4(), uuid4(), "customer:1", None, (moved,))
    (fact,) = of_message(told)
    assert fact.text
    assert fact.message == told.id


@pytest.mark.parametrize("kind", list(ReceiptKind))
def test_every_receipt_has_a_sentence(kind: ReceiptKind) -> None:
    sent = Transition(NOON, 1, Status.SENDING, Status.SENT, Reason.NONE)
    receipt, refusal = Receipt(NOON, 1, kind, "twilio", "why"), Rejection(NOON, 1, True, "no", error="30005")
    told = Message(uuid4(), 1, "c", uuid4(), uuid4(), uuid4(), None, None, (sent,), (receipt,), (refusal,))
    texts = [fact.text for fact in of_message(told)]
    assert any("why" in text for text in texts)
    assert any("30005: no" in text for text in texts)


def test_an_event_appears_once_before_its_decisions() -> None:
    cause = uuid4()
    made = [
        Decision(NOON, cause, "e-1", "order.placed", "shop", reason, "A-1", name)
        for reason, name in ((Reason.NONE, "one"), (Reason.CONDITION_FALSE, "two"))
    ]
    texts = [fact.text for fact in of_decisions(made)]
    assert len(texts) == 3
    assert "about A-1 was accepted" in texts[0]
    assert texts[2].startswith("two: The communication's condition is false")


def test_an_unparsed_delivery_is_named_by_its_source() -> None:
    kept = Decision(NOON, uuid4(), "", "", "/sources/shopify", Reason.MAPPING_FAILED, detail="No id.")
    assert of_decisions([kept])[0].text == "A delivery to /sources/shopify arrived and was stored."


EVENTS: list[Event] = [
    BounceClassified(
        bounce_id=uuid4(),
        category="unknown-user",
        group="hard",
        address_hash=b"h" * 32,
        at=NOON,
        message_id="m.1",
        recipient="customer:1",
        text="550 kim@example.com gone",
    ),
    SuppressionChanged(
        suppression_id=uuid4(),
        address_hash=b"h" * 32,
        scope="all",
        reason="suppressed_bounce",
        active=True,
        version=1,
        at=NOON,
        message_id="m.1",
    ),
    ActionRecorded(actor="key1", action="hold.place", object="cause 7", at=NOON, note="too many"),
    HoldPlaced(kind="tenant", target="1", version=1, at=NOON),
    DeviceRetired(recipient="customer:1", address_id=4, why="unregistered", at=NOON),
    RecipientChanged(recipient="customer:1", fields=("locale",), version=2, at=NOON),
    ReplyReceived(
        provider="twilio", provider_event_id="1", channel="sms", address_hash=b"h" * 32, text="my secret", at=NOON
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.TYPE)
def test_a_document_is_found_by_recipient_and_contains_no_address(event: Event) -> None:
    document = document_of(heard(event))
    assert (document.type, document.at) == (event.TYPE, NOON)
    assert document.recipient == getattr(event, "recipient", None)
    assert document.message == getattr(event, "message_id", None)
    assert document.address_key == address_key(getattr(event, "address_hash", None))
    whole = f"{document.body} {of_document(document).text}"
    assert "kim@" not in whole
    assert "secret" not in whole
    assert of_document(document).text


def test_only_keywords_of_a_reply_are_stored() -> None:
    stop = ReplyReceived(
        provider="t", provider_event_id="1", channel="sms", address_hash=b"h" * 32, text=" Stop ", at=NOON
    )
    assert document_of(heard(stop)).body["text"] == "STOP"


def test_the_chain_is_in_order_of_time() -> None:
    later, sooner = (of_document(document_of(heard(event))) for event in EVENTS[:2])
    assert in_order([later, sooner]) == [later, sooner]  # same moment: as given
