"""Support asks why, over HTTP, after the events that the other services would have published."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import Receipt, ReceiptRecorded
from libs.contracts.outcomes import Status
from libs.contracts.tokens import RecipientErased
from libs.ids import first_id_at
from tests.flows.histories import KIM, NOW, ORDER, SENT, World, world

__all__ = ["world"]


async def test_a_sent_message_has_its_chain_and_its_rendered_text(world: World) -> None:
    id_ = await world.told(SENT)
    world.rendered[id_] = {"digest": "equal", "parts": {"subject": "Hallo Kim"}}
    answer = await world.why(recipient=KIM, order=ORDER)
    assert (answer["verdict"], answer["communication"], answer["messages"]) == ("sent", "parcel-shipped", [id_])
    assert "accepted it by email" in answer["sentence"]
    assert [fact["kind"] for fact in answer["facts"]] == ["event", "decision", "transition"]
    assert answer["render"] == {"digest": "equal", "why": None, "parts": None}
    assert (await world.why("admin", message=id_))["render"]["parts"] == {"subject": "Hallo Kim"}


async def test_spaces_around_a_copied_order_number_do_not_matter(world: World) -> None:
    await world.told(SENT)
    assert (await world.why(order=f" {ORDER} "))["verdict"] == "sent"
    assert (await world.timeline(order=f"{ORDER} "))["items"]
    assert (await world.why(order="  "))["verdict"] == "no_trace"


async def test_the_answer_links_to_the_trace_if_a_page_is_configured(world: World) -> None:
    id_ = await world.told(SENT)
    assert (await world.why(message=id_))["links"] == {"trace": None}  # no page is configured
    world.service.deps = replace(world.service.deps, trace_url="http://jaeger.example/trace/{trace_id}")
    world.service.app.state.deps = world.service.deps
    assert (await world.why(message=id_))["links"] == {"trace": None}  # intake knows of none
    cause = str(first_id_at(NOW))
    world.traced["events"].append({"id": cause, "event_id": "e", "trace_id": "0af7651916cd43dd8448eb211c80319c"})
    link = "http://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c"
    assert (await world.why(message=id_))["links"] == {"trace": link}
    assert {entry["links"]["trace"] for entry in (await world.timeline(order=ORDER))["items"]} == {link}
    world.away = True
    assert (await world.why(message=id_))["links"] == {"trace": None}
    assert (await world.timeline(order=ORDER))["items"]


async def test_a_resend_after_a_time_out_is_explained(world: World) -> None:
    id_ = await world.told((Status.SENDING, Status.UNKNOWN, 1), (Status.SENDING, Status.SENT, 2))
    answer = await world.why(message=id_)
    assert (answer["verdict"], answer["certain"], answer["reason"]) == ("sent_twice", False, "timed_out")
    receipt = Receipt(provider="p", provider_event_id="e1", message=id_, attempt=1, kind="delivered", at=NOW)
    await world.hear(ReceiptRecorded(receipts=(receipt,)))
    assert (await world.why(message=id_))["certain"] is True


async def test_two_events_about_one_order_are_detected(world: World) -> None:
    await world.told(SENT)
    await world.told(SENT, minutes=5)
    answer = await world.why(order=ORDER, recipient=KIM, communication="parcel-shipped")
    assert answer["verdict"] == "sent_twice"
    assert len(answer["others"]) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"order": ORDER, "communication": "parcel-shiped"},
        {"order": ORDER, "recipient": "customer:99"},
        {"recipient": KIM, "communication": "parcel-shiped"},
    ],
)
async def test_contradictory_parts_of_a_question_are_not_reported_as_lost(world: World, asked: dict[str, str]) -> None:
    id_ = await world.told(SENT)
    answer = await world.why(**asked)
    assert (answer["verdict"], answer["lost_at"]) == ("no_trace", "decision")
    assert "parcel-shipped" in answer["sentence"]
    assert [other["message"] for other in answer["others"]] == [id_]
    alone = await world.why(order="B-0", communication="parcel-shiped")
    assert (alone["verdict"], alone["lost_at"], alone["others"]) == ("no_trace", "source", [])


async def test_an_event_without_a_recipient_says_nothing_about_a_stranger_to_the_order(world: World) -> None:
    id_ = await world.told(SENT)
    await world.decided("schema_invalid", cause=first_id_at(NOW + timedelta(minutes=9)), name=None, recipient=None)
    answer = await world.why(order=ORDER, recipient="customer:99")
    assert (answer["verdict"], answer["lost_at"]) == ("no_trace", "decision")
    assert [other["message"] for other in answer["others"] if other["recipient"] == KIM] == [id_]
    assert (await world.why(order=ORDER, recipient=KIM))["messages"] == [id_]
    await world.decided("schema_invalid", cause=first_id_at(NOW), name=None, recipient=None, subject="A-7")
    assert (await world.why(order="A-7", recipient=KIM))["reason"] == "schema_invalid"  # it names nobody else
    await world.decided("condition_false", cause=first_id_at(NOW), name="review", recipient=None)  # beside Kim's own
    assert (await world.why(order=ORDER, recipient=KIM, communication="review"))["reason"] == "condition_false"


async def test_not_sent_says_the_reason_and_the_next_step(world: World) -> None:
    await world.told((Status.PENDING, Status.SKIPPED, 1), reason="no_consent")
    answer = await world.why(recipient=KIM)
    assert (answer["verdict"], answer["reason"]) == ("not_sent", "no_consent")
    assert "subscribe" in answer["next_step"]


async def test_not_yet_comes_from_delivery(world: World) -> None:
    id_ = await world.told()
    until = NOW + timedelta(hours=9)
    world.delivery[id_.partition(".")[0]] = {"reason": "quiet_hours", "until": until.isoformat()}
    answer = await world.why(recipient=KIM, order=ORDER)
    assert (answer["verdict"], answer["reason"]) == ("not_yet", "quiet_hours")
    assert datetime.fromisoformat(answer["until"]) == until


async def test_a_hold_is_named_with_its_author_and_note(world: World) -> None:
    id_ = await world.told()
    detail = "A hold on sender 3 stops it, placed by k1 at 2027-03-01 09:00:00 UTC. Note: Provider is down."
    world.delivery[id_.partition(".")[0]] = {"state": "held", "reason": "held", "detail": detail}
    answer = await world.why(recipient=KIM, order=ORDER)
    assert answer["sentence"] == f"It has not been sent yet. {detail}"


async def test_a_cancellation_is_named_with_its_author_and_note(world: World) -> None:
    await world.told((Status.PENDING, Status.SKIPPED, 1), reason="cancelled")
    cause = str(first_id_at(NOW))
    for about, note in ((cause, "Wrong price"), (str(uuid4()), "Another one")):
        action = ActionRecorded(actor="k1", action="cause.cancel", object=about, at=NOW, note=note)
        await world.hear(action, subject=None)
    facts = [fact["text"] for fact in (await world.why(recipient=KIM, order=ORDER))["facts"]]
    assert f"k1 performed cause.cancel on {cause}. Note: Wrong price" in facts
    assert "Another one" not in str(facts)


async def test_a_request_that_never_reached_delivery_is_no_trace(world: World) -> None:
    for minutes, means in ((0, ("no_trace", "request")), (119.5, ("not_yet", None))):  # half a minute ago: on its way
        await world.told(minutes=minutes)
        answer = await world.why(order=ORDER)
        assert (answer["verdict"], answer["lost_at"]) == means


async def test_unavailable_services_do_not_prevent_an_answer(world: World) -> None:
    world.away = True
    assert (await world.why(order="A-9"))["certain"] is False
    await world.told()
    assert (await world.why(order=ORDER))["verdict"] == "not_yet"
    await world.told(SENT, minutes=1)
    assert (await world.why(order=ORDER))["render"] is None


async def test_a_bounce_after_it_was_sent_is_the_verdict(world: World) -> None:
    id_ = await world.told(SENT)
    hashed = world.runtime.hasher("email", "kim@example.com")
    bounce = uuid4()
    await world.hear(
        BounceClassified(
            bounce_id=bounce,
            category="unknown-user",
            group="hard",
            address_hash=hashed,
            at=NOW,
            message_id=id_,
            recipient=KIM,
            text="550 no such user",
        )
    )
    await world.hear(
        SuppressionChanged(
            suppression_id=uuid4(),
            address_hash=hashed,
            scope="all",
            reason="suppressed_bounce",
            active=True,
            version=1,
            at=NOW,
            bounce_id=bounce,
            message_id=id_,
        )
    )
    answer = await world.why(message=id_)
    assert answer["verdict"] == "bounced"
    assert any("550 no such user" in fact["text"] for fact in answer["facts"])
    await world.told((Status.PENDING, Status.SUPPRESSED, 1), reason="suppressed_bounce", minutes=10)
    barred = await world.why(recipient=KIM)
    assert (barred["verdict"], barred["reason"]) == ("not_sent", "suppressed_bounce")
    assert any(fact["kind"] == "suppression.changed" for fact in barred["facts"])


@pytest.mark.parametrize(("outcome", "name"), [("condition_false", "parcel-shipped"), ("no_communication", None)])
async def test_a_refusing_decision_is_the_verdict(world: World, outcome: str, name: str | None) -> None:
    await world.decided(outcome, cause=first_id_at(NOW), name=name, recipient=None)
    answer = await world.why(order=ORDER, recipient=KIM)
    assert (answer["verdict"], answer["reason"]) == ("not_sent", outcome)


async def test_no_trace_says_where_it_was_lost(world: World) -> None:
    assert (await world.why(order="A-9"))["lost_at"] == "source"
    kept = {"received_at": NOW.isoformat(), "detail": "The event does not fit its schema: total is missing."}
    world.traced["rejections"].append(kept)
    answer = await world.why(order="A-9")
    assert (answer["verdict"], answer["lost_at"]) == ("no_trace", "intake")
    assert "total is missing" in answer["sentence"]


@pytest.mark.parametrize(
    "asked", [{"order": f"#{ORDER}"}, {"recipient": "1042"}, {"order": f"#{ORDER}", "recipient": "1042"}]
)
async def test_order_numbers_are_found_as_people_write_them(world: World, asked: dict[str, str]) -> None:
    id_ = await world.told(SENT)
    assert (await world.why(**asked))["messages"] == [id_]
    assert (await world.timeline(**asked))["items"][0]["message"] == id_


async def test_an_event_refused_by_intake_is_not_reported_as_accepted(world: World) -> None:
    await world.decided("schema_invalid", cause=first_id_at(NOW), name=None, recipient=None)
    assert (await world.why(order=ORDER))["facts"][0]["text"].endswith("arrived and was stored.")


async def test_an_event_is_found_by_either_id(world: World) -> None:
    id_ = await world.told(SENT)
    cause = first_id_at(NOW)
    for event in (f"e-{cause.int >> 80}", str(cause)):
        assert (await world.why(event=event))["messages"] == [id_]


async def test_an_address_is_found_by_its_hash_only(world: World) -> None:
    id_ = await world.told(SENT)
    assert (await world.why(address=" Kim@Example.com "))["messages"] == [id_]
    assert (await world.timeline(address="kim@example.com"))["items"][0]["message"] == id_
    assert (await world.timeline(address="max@example.com"))["items"] == []
    nobody = await world.why(address="max@example.com")
    assert (nobody["verdict"], nobody["lost_at"]) == ("no_trace", "address")
    misspelt = await world.why(address="kim@example.com", communication="parcel-shiped")
    assert [other["message"] for other in misspelt["others"]] == [id_]


async def test_a_timeline_is_complete_and_newest_first(world: World) -> None:
    id_ = await world.told((Status.SENDING, Status.UNKNOWN, 1), (Status.SENDING, Status.SENT, 2))
    for asked in ({"recipient": KIM}, {"order": ORDER}, {"message": id_}):
        items = (await world.timeline(**asked))["items"]
        assert [item["kind"] for item in items] == ["transition", "transition", "event", "decision"]
        assert items[0]["at"] > items[1]["at"] > items[2]["at"]


async def test_timeline_pages_have_no_gaps_or_repeats(world: World) -> None:
    for number in range(7):
        await world.told(SENT, minutes=number)
    seen: list[tuple[str, str]] = []
    cursor: str | None = None
    for _ in range(20):
        page = await world.timeline(recipient=KIM, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [(item["kind"], item["at"] + item["text"]) for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert cursor is None
    assert len(seen) == len(set(seen)) == 7 * 3


async def test_another_tenant_sees_nothing(world: World) -> None:
    id_ = await world.told(SENT)
    assert (await world.why("other", message=id_))["verdict"] == "no_trace"
    assert (await world.timeline("other", recipient=KIM))["items"] == []


async def test_a_key_that_is_an_address_is_masked(world: World) -> None:
    await world.told(SENT, recipient="customer:kim@example.com")
    assert (await world.why(recipient="customer:kim@example.com"))["recipient"] == "customer:<address>"
    assert (await world.why("admin", recipient="customer:kim@example.com"))["recipient"] == "customer:kim@example.com"


async def test_after_erasure_nobody_is_found_under_the_name(world: World) -> None:
    id_ = await world.told(SENT)
    await world.hear(RecipientErased(recipient=KIM, at=NOW + timedelta(hours=1)))
    assert (await world.timeline(recipient=KIM))["items"] == []
    answer = await world.why(message=id_)
    assert (answer["verdict"], answer["recipient"]) == ("sent", None)


async def test_an_empty_question_is_refused_with_a_hint(world: World) -> None:
    asked: dict[str, str]
    async with world.client() as client:
        for asked in (
            {}, {"communication": "parcel-shipped"}, {"message": "no-id"}, {"message": "x" * 80}, {"order": "a\x00b"},
            {"address": "neither"},
        ):  # fmt: skip
            for path in ("/v1/why", "/v1/timeline"):
                answer = await client.get(path, params=asked)
                assert (answer.status_code, bool(answer.json()["errors"])) == (422, True), (path, asked)
        assert (await client.get("/v1/timeline", params={"order": "A", "cursor": "nonsense"})).status_code == 422
    async with world.client("none") as client:
        assert (await client.get("/v1/why", params={"order": "A"})).status_code == 403
