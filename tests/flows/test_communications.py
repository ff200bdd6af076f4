"""Publishing: everything that could fail at send is refused at once; a release never changes; events use it
immediately.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import Transport
from services.delivery.adapters.releases import compiled
from tests.flows.publishing_suite import PARCEL, PUSH, Suite, publishing_suite

SCHEMA = {
    "type": "object",
    "properties": {"carrier": {"type": "string"}, "customer": {"type": "string"}},
    "required": ["customer", "carrier"],
}
SHIPPED = {"customer": "customer:1", "carrier": "DHL"}


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with publishing_suite(runtime, transports) as made:
        yield made


async def bundle(suite: Suite, release: Any) -> Any:
    return (await suite.call("orders-notification", "GET", f"/v1/releases/{release['id']}")).json()


def outcomes(answer: httpx.Response) -> list[str]:
    return [decision["outcome"] for decision in answer.json()["decisions"]]


async def test_the_next_event_is_decided_by_what_was_just_published(suite: Suite) -> None:
    before = outcomes(await suite.send("1", SHIPPED))
    await suite.published_template()
    published = await suite.published_communication()
    assert published.status_code == 200, published.text
    assert (before, outcomes(await suite.send("2", SHIPPED))) == (["no_communication"], ["requested"])
    assert outcomes(await suite.send("3", SHIPPED | {"carrier": "pickup"})) == ["condition_false"]


async def test_a_release_holds_all_that_is_sent_and_its_locale_chain(suite: Suite) -> None:
    await suite.published_template()
    made = await bundle(suite, (await suite.published_communication()).json())
    template = made["templates"]["parcel.push"]
    assert template["locales"] == PUSH["locales"]
    assert template["fallbacks"]["de"] == ["de", "en"]
    assert (made["communication"], made["lane"], made["quiet_hours"]) == ("parcel", "transactional", "ignore")


async def test_a_release_gives_delivery_the_tenants_locale_and_zone(suite: Suite) -> None:
    await suite.published_template()
    tenant = {"name": "Nordlicht", "default_locale": "de", "zone": "Europe/Vienna"}
    assert (await suite.call("access", "PUT", "/v1/tenants/1", tenant, **{"if-match": "*"})).status_code == 200
    made = await bundle(suite, (await suite.published_communication()).json())
    release = compiled(made, 1, Mode.LIVE)
    assert (release.default_locale, release.default_zone) == ("de", "Europe/Vienna")


async def test_a_release_from_before_zones_were_in_it_is_still_sent(suite: Suite) -> None:
    await suite.published_template()
    made = await bundle(suite, (await suite.published_communication()).json())
    del made["default_zone"]
    assert compiled(made, 1, Mode.LIVE).default_zone is None


async def test_a_new_template_version_changes_nothing_until_it_is_published_again(suite: Suite) -> None:
    await suite.published_template()
    first = (await suite.published_communication()).json()
    changed = PUSH | {"locales": {"en": {"title": "New", "body": "Words"}}}
    await suite.published_template(template=changed)
    assert (await bundle(suite, first))["templates"]["parcel.push"]["locales"] == PUSH["locales"]
    offered = await suite.call("orders-notification", "GET", "/v1/communications?outdated=true")
    assert [(c["name"], c["outdated"]) for c in offered.json()["items"]] == [("parcel", ["parcel.push"])]
    again = await suite.call("orders-notification", "POST", "/v1/communications:republish", {"template": "parcel.push"})
    assert again.json()["releases"]["parcel"]["version"] == 2
    assert (await bundle(suite, again.json()["releases"]["parcel"]))["templates"]["parcel.push"]["version"] == 2


async def test_a_communication_that_is_refused_does_not_stop_the_others_from_being_published_again(
    suite: Suite,
) -> None:
    await suite.published_template()
    path = "/v1/communications/another"
    for name in ("another", "parcel"):
        await suite.call("orders-notification", "PUT", f"/v1/communications/{name}", PARCEL)
        await suite.call("orders-notification", "POST", f"/v1/communications/{name}:publish")
    etag = (await suite.call("orders-notification", "GET", path)).headers["etag"]
    await suite.call("orders-notification", "PUT", path, PARCEL | {"topic": "gone"}, **{"if-match": etag})
    await suite.published_template(template=PUSH | {"locales": {"en": {"title": "New", "body": "Words"}}})
    wanted = ("orders-notification", "POST", "/v1/communications:republish", {"template": "parcel.push"})
    refused = await suite.call(*wanted)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/another/topic")
    releases = await suite.call("orders-notification", "GET", "/v1/communications/parcel/releases")
    assert [release["version"] for release in releases.json()["items"]] == [2, 1]
    assert (await suite.call(*wanted)).json()["errors"] == refused.json()["errors"]  # only what is left


async def test_a_misspelt_topic_is_answered_with_the_one_that_was_meant(suite: Suite) -> None:
    await suite.published_template()
    await suite.call("access", "PUT", "/v1/topics/price-alerts", {"category": "marketing", "description": "News"})
    refused = await suite.published_communication(category="marketing", topic="price-alert")
    assert "There is no topic 'price-alert'. Did you mean 'price-alerts'?" in refused.json()["errors"][0]["detail"]


async def test_publishing_the_same_again_makes_no_new_release(suite: Suite) -> None:
    await suite.published_template()
    first = (await suite.published_communication()).json()
    assert (await suite.published_communication()).json()["id"] == first["id"]


@pytest.mark.parametrize(
    ("on_unknown", "told"), [("leave", False), ("resend", False), ("verify", True)], ids=["leave", "resend", "verify"]
)
async def test_publishing_says_where_nobody_can_be_asked(suite: Suite, on_unknown: str, told: bool) -> None:
    """`verify` for push is not an error: it acts like `leave`, and publishing says so."""
    await suite.published_template()
    release = (await suite.published_communication(on_unknown=on_unknown)).json()
    assert [("by push" in notice, "leave" in notice) for notice in release["notices"]] == [(True, True)] * told


async def test_every_problem_is_named_at_once_with_its_place(suite: Suite) -> None:
    steps = [{"channels": [{"channel": "email", "template": "parcel.push"}, {"channel": "sms", "template": "none"}]}]
    await suite.published_template()
    refused = await suite.published_communication(
        plan=steps, condition="event.data.carrier ==", recipient="nobody.there", category="marketing", topic="gone"
    )
    assert refused.status_code == 422
    assert {e["pointer"] for e in refused.json()["errors"]} >= {
        "/condition",
        "/recipient",
        "/topic",
        "/plan/0/channels/0/template",
        "/plan/0/channels/1/template",
    }


async def test_a_channel_twice_in_a_step_is_named_with_its_place(suite: Suite) -> None:
    twice = [{"channels": [{"channel": "push", "template": "a"}, {"channel": "push", "template": "b"}]}]
    refused = await suite.call("orders-notification", "PUT", "/v1/communications/parcel", PARCEL | {"plan": twice})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/plan")


async def test_a_variable_that_the_events_schema_does_not_have_is_refused(suite: Suite) -> None:
    await suite.call("orders-notification", "PUT", "/v1/event-types/parcel.shipped", {"schema": SCHEMA})
    typo = {"channel": "push", "locales": {"en": {"title": "Hi", "body": "{{ event.data.carier }}"}}}
    await suite.published_template(template=typo)
    refused = await suite.published_communication()
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/templates/parcel.push/locales/en/body"


async def test_a_template_without_the_tenants_locale_is_refused(suite: Suite) -> None:
    await suite.published_template(template=PUSH | {"locales": {"de": PUSH["locales"]["de"]}})  # type: ignore[index]
    refused = await suite.published_communication()
    assert "default locale" in refused.json()["errors"][0]["detail"]


async def test_marketing_needs_an_active_marketing_topic(suite: Suite) -> None:
    await suite.published_template()
    assert (await suite.published_communication(category="marketing")).json()["errors"][0]["pointer"] == "/topic"
    topic = {"category": "marketing", "description": "News"}
    await suite.call("access", "PUT", "/v1/topics/news", topic)
    published = await suite.published_communication(category="marketing", topic="news")
    made = await bundle(suite, published.json())
    assert (made["lane"], made["quiet_hours"], made["topic"]) == ("bulk", "obey", "news")


async def test_a_retired_communication_decides_no_event_and_its_release_says_so(suite: Suite) -> None:
    await suite.published_template()
    release = (await suite.published_communication()).json()
    retired = await suite.call("orders-notification", "POST", "/v1/communications/parcel:retire")
    assert retired.json()["state"] == "retired"
    assert outcomes(await suite.send("9", SHIPPED)) == ["no_communication"]
    assert (await bundle(suite, release))["active"] is False
    assert (await suite.published_communication()).json()["version"] == 2


async def test_an_edit_on_an_old_version_is_refused(suite: Suite) -> None:
    await suite.call("orders-notification", "PUT", "/v1/communications/parcel", PARCEL)
    path = "/v1/communications/parcel"
    assert (await suite.call("orders-notification", "PUT", path, PARCEL)).status_code == 428
    changed = PARCEL | {"description": "x"}
    first = await suite.call("orders-notification", "PUT", path, changed, **{"if-match": '"1"'})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    late = await suite.call("orders-notification", "PUT", path, PARCEL, **{"if-match": '"1"'})
    assert late.status_code == 412
    assert (await suite.call("orders-notification", "GET", path)).headers["etag"] == '"2"'
    same = await suite.call("orders-notification", "PUT", path, changed, **{"if-match": '"2"'})
    assert same.headers["etag"] == '"2"'  # a change that changes nothing leaves others' edits valid


async def test_another_mode_has_its_own_communications(suite: Suite, runtime: Runtime) -> None:
    await suite.published_template()
    release = (await suite.published_communication()).json()
    token = runtime.tokens.make("delivery", 1, Mode.TEST)
    seen = await suite.call(
        "orders-notification", "GET", f"/v1/releases/{release['id']}", authorization=f"Internal {token}"
    )
    assert seen.status_code == 404
