"""Two people publish, retire and make a communication at the same moment: nobody's word is undone by an older one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from libs.auth import Principal
from libs.contracts.envelope import decode
from libs.contracts.outcomes import Channel, Mode
from libs.messaging.bundles import unbundled
from libs.service import Runtime
from libs.service_client import Transport
from services.orders_notification.domain.communications import Communication
from services.templates.domain import Template
from tests.flows.publishing_suite import PUSH, Suite, publishing_suite

LIVE = Principal(1, Mode.LIVE, "somebody", frozenset({"admin"}))


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with publishing_suite(runtime, transports) as made:
        yield made


async def call(suite: Suite, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return await suite.call("orders-notification", method, f"/v1/communications{path}", body, **headers)


async def published_while(suite: Suite, meanwhile: Callable[[], Awaitable[Any]]) -> Any:
    """Publishes; meanwhile something else happens, once."""
    deps = suite.services["orders-notification"].deps
    real = deps.neighbours

    class Once:
        templates = real.templates
        senders = real.senders

        async def tenant_and_topics(self, *asked: Any) -> Any:
            answer = await real.tenant_and_topics(*asked)
            object.__setattr__(deps, "neighbours", real)
            await meanwhile()
            return answer

    object.__setattr__(deps, "neighbours", Once())
    return await call(suite, "POST", "/parcel:publish")


async def active_words(suite: Suite) -> str:
    (release,) = (await call(suite, "GET", "/parcel/releases?limit=1")).json()["items"]
    bundle = (await suite.call("orders-notification", "GET", f"/v1/releases/{release['id']}")).json()
    return str(bundle["templates"]["parcel.push"]["locales"]["en"]["title"])


async def test_older_words_do_not_take_the_place_of_newer_ones(suite: Suite) -> None:
    await suite.published_template()
    await suite.published_communication()
    await suite.published_template(template=PUSH | {"locales": {"en": {"title": "Second", "body": "x"}}})

    async def newer() -> None:
        await suite.published_template(template=PUSH | {"locales": {"en": {"title": "Third", "body": "x"}}})
        assert (await call(suite, "POST", "/parcel:publish")).status_code == 200

    late = await published_while(suite, newer)
    assert late.status_code == 409
    assert await active_words(suite) == "Third"


async def test_what_is_retired_while_it_is_published_stays_retired(suite: Suite) -> None:
    await suite.published_template()
    await suite.published_communication()
    await suite.published_template(template=PUSH | {"locales": {"en": {"title": "Second", "body": "x"}}})
    late = await published_while(suite, lambda: call(suite, "POST", "/parcel:retire"))
    assert late.status_code == 409
    assert (await call(suite, "GET", "/parcel")).json()["state"] == "retired"


async def test_two_who_publish_the_same_get_the_same_release(suite: Suite) -> None:
    await suite.published_template()
    await suite.published_communication()
    await suite.published_template(template=PUSH | {"locales": {"en": {"title": "Second", "body": "x"}}})
    late = await published_while(suite, lambda: call(suite, "POST", "/parcel:publish"))
    assert (late.status_code, late.json()["version"]) == (200, 2)


async def test_retiring_stops_what_older_releases_still_have_waiting(suite: Suite) -> None:
    await suite.published_template()
    releases = [(await suite.published_communication(description=words)).json() for words in ("one", "two")]
    releases += [(await suite.published_communication(expiry_seconds=60)).json()]
    await call(suite, "POST", "/parcel:retire")
    ids = {release["id"] for release in releases}
    assert len(ids) == 2  # a description makes no release
    said = [one for one in await told(suite) if not one.active]
    assert {str(one.release_id) for one in said} == ids


async def told(suite: Suite) -> list[Any]:
    """Everything that was said about releases."""
    database = suite.services["orders-notification"].database
    async with database.acquire() as connection:
        rows = await connection.fetch("select * from outbox where type = 'release.published' order by id")
    return [decode(row["type"], row["payload"]) for row in unbundled(rows)]


async def test_who_makes_a_communication_late_does_not_take_back_its_release(suite: Suite) -> None:
    await suite.published_template()
    store = suite.services["orders-notification"].deps.communications
    async with store.begin(LIVE) as unit:
        assert await unit.get("parcel", lock=True) is None
        release = (await suite.published_communication()).json()
        made = (await call(suite, "GET", "/parcel")).json()
        async with store.begin(LIVE) as other:
            definition = (await other.get("parcel")).definition
        late = Communication("parcel", definition, 1, None, None, None, None, suite.services["access"].deps.clock())
        assert made["version"] == late.version
        assert not await unit.put(late)
    assert (await call(suite, "GET", "/parcel")).json()["state"] == "published"
    assert release["version"] == 1


async def test_who_makes_a_template_late_does_not_take_back_its_version(suite: Suite) -> None:
    store = suite.services["templates"].deps.store
    async with store.begin(LIVE) as unit:
        assert await unit.get("parcel.push", lock=True) is None
        await suite.published_template()
        clock = suite.services["templates"].deps.clock
        late = Template("parcel.push", Channel.PUSH, "", {"en": {"title": "x", "body": "y"}}, 1, None, None, clock())
        assert not await unit.put(late)
    shown = (await suite.call("templates", "GET", "/v1/templates/parcel.push")).json()
    assert (shown["state"], shown["locales"]) == ("published", PUSH["locales"])
