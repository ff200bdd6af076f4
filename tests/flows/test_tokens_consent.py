"""Consent: the latest statement holds, every statement has its proof, and a no takes one click."""

from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
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
from tests.flows.tokens_suite import NOW, Suite, database_of, suite_over, wipe

YES: dict[str, Any] = {"topic": "news", "granted": True, "how": "checkbox", "text_version": "2027-02"}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_consent") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn)) as suite:
        await suite.call(
            "PUT", "/v1/recipients/customer:1", {"emails": ["max@example.com"], "phones": ["+4915123456789"]}
        )
        for channel in ("email", "sms"):
            await say(suite, channel=channel, at="2027-01-01T00:00:00Z")
        await suite.events()
        yield suite


async def say(suite: Suite, key: str = "customer:1", **statement: Any) -> Any:
    return await suite.call("PUT", f"/v1/recipients/{key}/consents", {"consents": [YES | statement]})


async def consents(suite: Suite, topic: str = "news") -> dict[str, bool]:
    held: dict[str, bool] = (await suite.resolve("customer:1", topic=topic))["customer:1"]["consents"]
    return {channel: yes for channel, yes in held.items() if yes}


async def hash_of(suite: Suite, channel: str) -> bytes:
    found = (await suite.resolve("customer:1"))["customer:1"]["addresses"]
    return b64decode(next(a["hash"] for a in found if a["channel"] == channel))


async def test_a_yes_is_for_one_topic_and_channel(suite: Suite) -> None:
    assert await consents(suite) == {"email": True, "sms": True}
    assert await consents(suite, "offers") == {}


async def test_a_topic_that_does_not_exist_is_refused_with_the_names_near_it(suite: Suite) -> None:
    answer = await suite.call(
        "PUT",
        "/v1/recipients/customer:1/consents",
        {"consents": [YES | {"channel": "push", "topic": topic} for topic in ("news", "offer", "zzz")]},
    )
    assert answer.status_code == 422
    assert [(error["pointer"], error["detail"]) for error in answer.json()["errors"]] == [
        (
            "/consents/1/topic",
            "There is no topic 'offer'. Did you mean 'offers'? Create it in access, or use one that exists.",
        ),
        ("/consents/2/topic", "There is no topic 'zzz'. Create it in access, or use one that exists."),
    ]
    assert await consents(suite) == {"email": True, "sms": True}  # nothing of it was written
    assert (await say(suite, channel="push", topic="zzz", granted=False)).status_code == 422


async def test_a_topic_is_known_as_soon_as_it_exists(suite: Suite) -> None:
    assert (await say(suite, channel="push", topic="fresh")).status_code == 422
    suite.access.topics.add("fresh")
    assert (await say(suite, channel="push", topic="fresh")).status_code == 200
    suite.access.asked.clear()
    body = {"consents": [YES | {"channel": "push", "topic": "fresh"}]}
    await suite.call("PUT", "/v1/recipients/customer:1/consents", body, key="test")
    assert suite.access.asked == [["fresh"]]  # in another mode it may not exist


async def test_while_access_is_away_known_topics_are_taken_and_others_wait(suite: Suite) -> None:
    suite.access.away = True
    assert (await say(suite, channel="push")).status_code == 200
    answer = await say(suite, channel="push", topic="offers")
    assert (answer.status_code, bool(answer.headers.get("retry-after"))) == (503, True)


async def test_a_yes_needs_its_proof(suite: Suite) -> None:
    for missing in ("how", "text_version"):
        answer = await say(suite, channel="push", **{missing: None})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == f"/consents/0/{missing}"
    future = await say(suite, channel="push", at=(NOW + timedelta(minutes=6)).isoformat())
    assert future.json()["errors"][0]["pointer"] == "/consents/0/at"
    everything = await say(suite, channel="push", topic="*")
    assert everything.json()["errors"][0]["pointer"] == "/consents/0/topic"
    assert (await say(suite, "customer:2", channel="push")).status_code == 404
    for wrong in ("2027-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "yesterday"):
        assert (await say(suite, channel="email", at=wrong)).status_code == 422


async def test_an_older_word_that_comes_later_changes_nothing_but_is_kept(suite: Suite) -> None:
    await say(suite, channel="email", granted=False, at="2027-02-01T00:00:00Z")
    assert await consents(suite) == {"sms": True}
    await say(suite, channel="email", at="2027-01-15T00:00:00Z", how="an old list")
    assert await consents(suite) == {"sms": True}
    said = (await suite.call("GET", "/v1/recipients/customer:1/consents")).json()["items"]
    assert [s["how"] for s in said if s["channel"] == "email"] == ["an old list", "checkbox", "checkbox"]
    assert said[0]["actor"] == "key-admin"


async def test_the_proof_travels_with_the_change(suite: Suite) -> None:
    await say(suite, channel="push", at="2027-02-01T10:00:00Z")
    (note,) = [event.note for event in await suite.events() if isinstance(event, RecipientChanged)]
    assert note == "news by push: yes on 2027-02-01 10:00 UTC, checkbox, text 2027-02"


async def test_no_to_everything_overrules_until_a_newer_yes(suite: Suite) -> None:
    await say(suite, channel="email", topic="*", granted=False, at="2027-02-01T00:00:00Z")
    assert await consents(suite) == {"sms": True}
    await say(suite, channel="email", topic="offers", at="2027-01-20T00:00:00Z")
    assert await consents(suite, "offers") == {}
    await say(suite, channel="email", topic="offers", at="2027-02-01T00:00:00Z")
    assert await consents(suite, "offers") == {}  # at the same moment no wins
    await say(suite, channel="email", topic="offers", at="2027-02-02T00:00:00Z")
    assert await consents(suite, "offers") == {"email": True}
    assert await consents(suite) == {"sms": True}


async def answered(suite: Suite, text: str, at: datetime = NOW) -> ReplyReceived:
    hash_ = await hash_of(suite, "sms")
    return ReplyReceived(provider="t", provider_event_id="1", channel="sms", address_hash=hash_, text=text, at=at)


async def unsubscribed(suite: Suite, at: datetime = NOW) -> BounceClassified:
    hash_ = await hash_of(suite, "email")
    return BounceClassified(bounce_id=uuid7(), category="unsubscribe", group="other", address_hash=hash_, at=at)


async def test_stop_by_sms_ends_marketing_by_sms_and_nothing_else(suite: Suite) -> None:
    reply = await answered(suite, "Stopp!")
    await suite.tell(reply, tenant=2)
    await suite.tell(reply, mode=Mode.TEST)
    assert await consents(suite) == {"email": True, "sms": True}
    await suite.tell(reply, reply)
    await suite.tell(reply)
    assert await consents(suite) == {"email": True}
    changed = [event for event in await suite.events() if isinstance(event, RecipientChanged)]
    assert [event.fields for event in changed] == [("consents",)]


async def test_a_list_without_dates_does_not_undo_a_stop_and_says_nothing_twice(suite: Suite) -> None:
    rows = "customer_id,consent.news.sms,consent.offers.sms,consent.offers.email\n1,yes,yes,yes\n"
    for counted in ("changed", "unchanged"):
        assert (await suite.load(rows)).json()[counted] == 1
    assert await consents(suite, "offers") == {"sms": True, "email": True}
    suite.clock.advance(timedelta(days=1))
    await say(suite, channel="sms", topic="*", granted=False)
    suite.clock.advance(timedelta(days=1))
    await suite.load(rows.replace("offers.sms", "new.sms"))
    for topic in ("news", "offers", "new"):
        assert "sms" not in await consents(suite, topic)
    await say(suite, channel="sms", topic="new")  # a customer who changed their mind, with the proof
    assert await consents(suite, "new") == {"sms": True}


async def test_an_answer_that_is_no_stop_changes_nothing(suite: Suite) -> None:
    await suite.tell(await answered(suite, "Danke, nicht aufhören!"))
    assert await consents(suite) == {"email": True, "sms": True}


async def test_an_unsubscribe_that_came_as_mail_counts(suite: Suite) -> None:
    await suite.tell(await unsubscribed(suite))
    assert await consents(suite) == {"sms": True}


async def test_a_no_that_is_reported_late_does_not_undo_a_newer_yes(suite: Suite) -> None:
    for channel in ("email", "sms"):
        await say(suite, channel=channel, at=(NOW - timedelta(days=1)).isoformat())
    before = NOW - timedelta(days=2)
    await suite.tell(await answered(suite, "Stop", before))
    await suite.tell(await unsubscribed(suite, before))
    assert await consents(suite) == {"email": True, "sms": True}


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


async def test_one_click_overrules_a_yes_from_a_clock_that_is_ahead(suite: Suite) -> None:
    ahead = NOW + timedelta(seconds=50)
    assert (await say(suite, channel="email", at=ahead.isoformat())).status_code == 200
    assert (await suite.http.post(link(suite), data=ONE_CLICK)).status_code == 200
    assert await consents(suite) == {"sms": True}


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
