"""Consent: the latest statement holds, and every statement has its proof."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest

from libs.contracts.tokens import RecipientChanged
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import YES, Suite, consenting, consents, database_of, say, wipe


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_consent") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with consenting(make_runtime(dsn)) as suite:
        yield suite


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
    future = await say(suite, channel="push", at=(suite.clock() + timedelta(minutes=6)).isoformat())
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
