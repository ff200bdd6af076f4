"""Mails are read again by the current rules: their earlier facts are replaced, with the suppressions they caused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.audit import ActionRecorded
from services.bounce.domain.classifier import Classifier
from tests.flows.bounces import MESSAGE, NOW, World, report, shown_state, until, world

__all__ = ["world"]


class Otherwise:
    """Rules that put everything into one category."""

    def __init__(self, classifier: Classifier, category: str) -> None:
        self._classifier = classifier
        self._category = category

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def classify_all(self, replies: Any) -> Any:
        return [one._replace(category=self._category) for one in self._classifier.classify_all(replies)]


class Rules:
    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    async def current(self) -> Any:
        return self._classifier


async def ruled(world: World, category: str) -> None:
    """From now on, everything has this category."""
    classifier = await world.service.deps.rulebook.current()
    deps = replace(world.service.deps, rulebook=Rules(Otherwise(classifier, category)))
    world.service.deps = world.service.app.state.deps = deps


async def again(world: World, mail: dict[str, Any]) -> dict[str, Any]:
    """Return the mail after reading it again."""
    answer = await world.post(f"/v1/mails/{mail['id']}:reclassify", None)
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    await until(world, lambda: shown_state(world, mail["id"], "read"))
    return dict(await world.get(f"/v1/mails/{mail['id']}"))


async def test_a_bar_goes_when_its_mail_says_something_else(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    assert [event.active for event in await world.suppressions()] == [True]
    await ruled(world, "mailbox-full")
    assert (await again(world, mail))["outcome"] == "mailbox-full"
    assert [event.active for event in await world.suppressions()] == [True, False]
    facts = {fact["category"]: fact["void"] for fact in (await world.get("/v1/bounces"))["items"]}
    assert facts == {"unknown-user": True, "mailbox-full": False}
    (lifted,) = (await world.get("/v1/suppressions"))["items"]
    assert "read again" in lifted["note"]
    assert [(action.actor, action.action, action.object) for action in await actions(world)] == [
        ("key", "mails.reclassify", mail["id"])
    ]


async def test_the_audit_says_who_had_a_span_of_mails_read_again(world: World) -> None:
    await world.hand_in(report(world.path))
    span = {"since": "2027-03-01T00:00:00+00:00", "until": "2027-03-02T00:00:00+00:00", "outcome": "unknown-user"}
    for body in (span | {"preview": True}, span | {"outcome": "mailbox-full"}, span):
        assert (await world.post("/v1/mails:reclassify", body)).status_code == 200
    (action,) = await actions(world)
    assert (action.action, action.object, action.after) == ("mails.reclassify", "mails", span)


async def actions(world: World) -> list[ActionRecorded]:
    return [event for event in await world.said() if isinstance(event, ActionRecorded)]


async def test_what_is_said_again_after_a_change_of_mind_counts_again(world: World) -> None:
    sure = world.service.deps
    mail = await world.hand_in(report(world.path))
    await ruled(world, "mailbox-full")
    await again(world, mail)
    world.clock.advance(timedelta(hours=1))
    world.service.deps = world.service.app.state.deps = sure
    assert (await again(world, mail))["outcome"] == "unknown-user"
    assert [event.active for event in await world.suppressions()] == [True, False, True]
    facts = {fact["category"]: fact["void"] for fact in (await world.get("/v1/bounces"))["items"]}
    assert facts == {"unknown-user": False, "mailbox-full": True}
    span = {"since": "2027-03-01T00:00:00Z", "until": "2027-03-02T00:00:00Z"}
    (counted,) = (await world.get("/v1/statistics", by="category", category="unknown-user", **span))["rows"]
    assert (counted["facts"], counted["suppressed"], counted["lifted"]) == (1, 2, 1)


async def test_what_a_person_has_let_go_is_not_barred_by_the_same_words_again(world: World) -> None:
    sure = world.service.deps
    mail = await world.hand_in(report(world.path))
    (barred,) = (await world.get("/v1/suppressions"))["items"]
    lifted = await world.post(f"/v1/suppressions/{barred['id']}:lift", {"note": "kim has called"})
    assert lifted.status_code == 200, lifted.text
    await ruled(world, "mailbox-full")
    await again(world, mail)
    world.service.deps = world.service.app.state.deps = sure
    await again(world, mail)
    assert [event.active for event in await world.suppressions()] == [True, False]


async def test_an_address_that_is_dead_by_another_word_stays_barred(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    await ruled(world, "inactive")
    assert (await again(world, mail))["outcome"] == "inactive"
    assert [event.active for event in await world.suppressions()] == [True]


async def test_what_could_not_be_read_before_bars_when_it_can(world: World) -> None:
    sure = world.service.deps
    await ruled(world, "undetermined")
    mail = await world.hand_in(report(world.path))
    assert await world.suppressions() == []
    world.service.deps = world.service.app.state.deps = sure
    body = {"since": (NOW - timedelta(days=1)).isoformat(), "until": (NOW + timedelta(days=1)).isoformat()}
    body["outcome"] = "undetermined"
    preview = await world.post("/v1/mails:reclassify", body | {"preview": True})
    assert preview.json() == {"count": 1, "preview": True}
    assert (await world.post("/v1/mails:reclassify", body)).json() == {"count": 1, "preview": False}
    await until(world, lambda: shown_state(world, mail["id"], "read"))
    assert [event.active for event in await world.suppressions()] == [True]
    assert (await world.post("/v1/mails:reclassify", body)).json()["count"] == 0


async def test_the_same_reading_changes_nothing(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    before = await world.said()
    assert (await again(world, mail))["outcome"] == "unknown-user"
    assert [event for event in await world.said() if not isinstance(event, ActionRecorded)] == before


async def test_only_ones_own_mails_are_read_again_and_only_while_they_are_kept(world: World) -> None:
    mail = await world.hand_in(report(world.path))
    for key in ("test", "other"):
        assert (await world.post(f"/v1/mails/{mail['id']}:reclassify", None, key=key)).status_code == 404
        since = {"since": (NOW - timedelta(days=1)).isoformat(), "until": (NOW + timedelta(days=1)).isoformat()}
        assert (await world.post("/v1/mails:reclassify", since, key=key)).json()["count"] == 0
    await world.service.deps.mails.drop_raw_before(NOW + timedelta(days=1))
    assert (await world.post(f"/v1/mails/{mail['id']}:reclassify", None)).status_code == 409


async def test_mails_are_listed_by_what_became_of_them_in_pages(world: World) -> None:
    read = await world.hand_in(report(world.path))
    world.clock.advance(timedelta(hours=1))
    away = await world.hand_in(
        b"Subject: Out of office\nFrom: kim@x.example\nTo: " + world.path.encode() + b"\n\nBye\n"
    )
    world.clock.advance(timedelta(hours=1))
    stray = await world.hand_in(report("somebody@else.example"))
    await world.hand_in(report(world.path), "test")
    page = await world.get("/v1/mails", limit=2)
    rest = await world.get("/v1/mails", cursor=page["next_cursor"])
    assert page["items"] + rest["items"] == [stray, away, read]
    assert rest["next_cursor"] is None
    for query, found in (
        ({"outcome": "unknown-user"}, [read]),
        ({"state": "backscatter"}, [stray]),
        ({"message": read["message"]}, [away, read]),
        ({"since": (NOW + timedelta(minutes=30)).isoformat()}, [stray, away]),
        ({"until": (NOW + timedelta(minutes=90)).isoformat(), "state": "read"}, [away, read]),
        ({"outcome": "no such"}, []),
    ):
        assert (await world.get("/v1/mails", **query))["items"] == found, query
    assert (await world.get("/v1/mails", "other"))["items"] == []
    async with world.client() as client:
        for query in (
            {"cursor": "WyJhIiwiYiJd"},
            {"outcome": "a\0"},
            {"state": "gone"},
            {"since": "0001-01-01T00:00:00Z"},
        ):
            assert (await client.get("/v1/mails", params=query)).status_code == 422, query


@pytest.mark.parametrize("outcome", ["auto-reply", "unknown-user"])
async def test_a_mail_over_smtp_belongs_to_its_message_once_it_was_read(world: World, outcome: str) -> None:
    away = b"Subject: Out of office\nFrom: kim@x.example\n\nBye\n"
    mail = await world.over_smtp(away if outcome == "auto-reply" else report(world.path))
    assert (await world.get("/v1/mails"))["items"] == []
    await world.read_waiting()
    (listed,) = (await world.get("/v1/mails"))["items"]
    assert (listed["id"], listed["state"], listed["outcome"], listed["message"]) == (
        str(mail),
        "read",
        outcome,
        MESSAGE,
    )
    assert await world.get(f"/v1/mails/{mail}") == listed
    assert (await world.get("/v1/mails", "other"))["items"] == []
    since = {"since": (NOW - timedelta(days=1)).isoformat(), "until": (NOW + timedelta(days=1)).isoformat()}
    assert (await world.post("/v1/mails:reclassify", since)).json()["count"] == 1
