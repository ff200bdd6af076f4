"""A no by the customer takes one click, one word or one mail."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import ReplyReceived
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.tokens import RecipientChanged
from libs.ids import uuid7
from libs.keyring import Keyring
from libs.links import UnsubscribeLink, sign_unsubscribe
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import NOW, Suite, consenting, consents, database_of, hash_of, say, wipe

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_withdrawals") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with consenting(make_runtime(dsn)) as suite:
        yield suite


async def stop(suite: Suite) -> ReplyReceived:
    return ReplyReceived(
        provider="twilio",
        provider_event_id="1",
        channel="sms",
        address_hash=await hash_of(suite, "sms"),
        text="Stopp!",
        at=NOW,
    )


async def unsubscribed(suite: Suite) -> BounceClassified:
    return BounceClassified(
        bounce_id=uuid7(),
        category="unsubscribe",
        group="other",
        address_hash=await hash_of(suite, "email"),
        at=NOW,
    )


async def test_stop_by_sms_ends_marketing_by_sms_and_nothing_else(suite: Suite) -> None:
    reply = await stop(suite)
    await suite.tell(reply, tenant=2)
    await suite.tell(reply, mode=Mode.TEST)
    assert await consents(suite) == {"email": True, "sms": True}
    await suite.tell(reply, reply)
    await suite.tell(reply)
    assert await consents(suite) == {"email": True}
    changed = [event for event in await suite.events() if isinstance(event, RecipientChanged)]
    assert [event.fields for event in changed] == [("consents",)]


async def test_an_answer_that_is_no_stop_changes_nothing(suite: Suite) -> None:
    reply = ReplyReceived(
        provider="twilio",
        provider_event_id="2",
        channel="sms",
        address_hash=await hash_of(suite, "sms"),
        text="Danke, nicht aufhören!",
        at=NOW,
    )
    await suite.tell(reply)
    assert await consents(suite) == {"email": True, "sms": True}


async def test_an_unsubscribe_that_came_as_mail_counts(suite: Suite) -> None:
    await suite.tell(await unsubscribed(suite))
    assert await consents(suite) == {"sms": True}


def link(suite: Suite, **changed: Any) -> str:
    named: dict[str, Any] = {
        "tenant": 1,
        "mode": Mode.LIVE,
        "recipient": "customer:1",
        "topic": "news",
        "channel": Channel.EMAIL,
        "message": "m.1",
    }
    key = suite.runtime.keyring.key("links")
    return "/v1/unsubscribe/" + sign_unsubscribe(key, UnsubscribeLink(**(named | changed)))


async def test_looking_at_the_page_changes_nothing(suite: Suite) -> None:
    answer = await suite.http.get(link(suite), headers={"accept-language": "de-AT,de;q=0.9"})
    assert answer.status_code == 200
    assert "<button>Abmelden</button>" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    head = await suite.http.head(link(suite))  # as link scanners do first
    assert (head.status_code, head.content) == (200, b"")
    assert await consents(suite) == {"email": True, "sms": True}


@pytest.mark.parametrize("form", [{"data": ONE_CLICK}, {"files": {"List-Unsubscribe": (None, "One-Click")}}])
async def test_one_click_acts_without_a_key_and_twice_is_once(suite: Suite, form: dict[str, Any]) -> None:
    for _ in range(2):
        answer = await suite.http.post(link(suite), **form)
        assert answer.status_code == 200, answer.text
        suite.clock.advance(timedelta(minutes=1))
    assert await consents(suite) == {"sms": True}
    said = (await suite.call("GET", "/v1/recipients/customer:1/consents")).json()["items"]
    mine = [s for s in said if s["how"] == "one-click unsubscribe"]
    assert [(s["message"], s["granted"], s["actor"]) for s in mine] == [("m.1", False, "recipient")]


@pytest.mark.parametrize("how", ["one-click", "mail", "stop", "shop", "shop-all"])
async def test_a_no_overrules_a_yes_from_a_clock_that_is_ahead(suite: Suite, how: str) -> None:
    ahead = (NOW + timedelta(seconds=50)).isoformat()
    for channel in ("email", "sms"):
        assert (await say(suite, channel=channel, at=ahead)).status_code == 200
    match how:
        case "one-click":
            assert (await suite.http.post(link(suite), data=ONE_CLICK)).status_code == 200
        case "mail":
            await suite.tell(await unsubscribed(suite))
        case "stop":
            await suite.tell(await stop(suite), await stop(suite))
        case _:
            await say(suite, channel="email", topic="*" if how == "shop-all" else "news", granted=False)
    assert await consents(suite) == {"email" if how == "stop" else "sms": True}
    await say(suite, channel="email", at=ahead)  # a repeat, not a change of mind
    await say(suite, channel="sms", at=ahead)
    assert await consents(suite) == {"email" if how == "stop" else "sms": True}


async def test_a_yes_after_a_stop_holds_even_if_the_stop_is_delivered_again(suite: Suite) -> None:
    said = await stop(suite)
    await suite.tell(said)
    suite.clock.advance(timedelta(seconds=30))
    await say(suite, channel="sms")
    suite.clock.advance(timedelta(seconds=30))
    await suite.tell(said)
    assert await consents(suite) == {"email": True, "sms": True}


async def test_an_older_no_of_the_shop_does_not_overrule_a_yes_from_a_clock_that_is_ahead(suite: Suite) -> None:
    await say(suite, channel="email", at=(NOW + timedelta(seconds=50)).isoformat())
    await say(suite, channel="email", granted=False, at=(NOW + timedelta(seconds=40)).isoformat())
    assert await consents(suite) == {"email": True, "sms": True}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded; charset=UTF-8", "List-Unsubscribe=One-Click\r\n"),
        ("APPLICATION/X-WWW-FORM-URLENCODED", "List-Unsubscribe=One-Click&x=1"),
        ("text/plain", "List-Unsubscribe=One-Click"),
        ("", "List-Unsubscribe=One-Click"),
    ],
)
async def test_one_click_is_understood_however_it_is_labelled(suite: Suite, kind: str, body: str) -> None:
    answer = await suite.http.post(link(suite), content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 200, answer.text
    assert await consents(suite) == {"sms": True}


async def test_a_no_for_somebody_erased_is_no_error(suite: Suite) -> None:
    await suite.call("DELETE", "/v1/recipients/customer:1")
    assert (await suite.http.post(link(suite), data=ONE_CLICK)).status_code == 200


async def test_a_link_acts_for_its_own_tenant_and_mode_only(suite: Suite) -> None:
    for changed in ({"tenant": 2}, {"mode": Mode.TEST}):
        assert (await suite.http.post(link(suite, **changed), data=ONE_CLICK)).status_code == 200
    assert await consents(suite) == {"email": True, "sms": True}


async def test_links_and_forms_that_are_not_ours_are_refused(suite: Suite) -> None:
    good = link(suite)
    foreign = sign_unsubscribe(
        Keyring(b"x" * 32).key("links"),
        UnsubscribeLink(1, Mode.LIVE, "customer:1", "news", Channel.EMAIL),
    )
    assert (await suite.http.get(good[:-2])).status_code == 404
    assert (await suite.http.post(f"/v1/unsubscribe/{foreign}", data=ONE_CLICK)).status_code == 404
    assert (await suite.http.post(good, data={"List-Unsubscribe": "maybe"})).status_code == 400
    assert (await suite.http.post(good, json=ONE_CLICK)).status_code == 415
    broken = {"content-type": "multipart/form-data"}
    assert (await suite.http.post(good, content=b"x", headers=broken)).status_code == 400
    big = await suite.http.post(good, data={"x": "y" * 100_000})
    assert big.status_code in (400, 413)
    assert await consents(suite) == {"email": True, "sms": True}


async def test_a_topic_in_a_page_is_text_and_not_markup(suite: Suite) -> None:
    answer = await suite.http.get(link(suite, topic="<script>alert(1)</script>"))
    assert "<script>" not in answer.text


async def test_a_person_with_a_broken_link_reads_a_page_and_a_program_a_problem(suite: Suite) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-language": "de"}
    page = await suite.http.get(link(suite)[:-2], headers=browser)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Link ist unvollständig" in page.text
    assert "<form" not in page.text
    program = await suite.http.get(link(suite)[:-2])
    assert (program.status_code, program.headers["content-type"]) == (404, "application/problem+json")
