"""Templates: a draft may be unfinished, a version never changes, and a preview is what would be sent."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from libs.contracts.envelope import decode
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.publishing_suite import Suite, publishing_suite

PUSH = {
    "channel": "push",
    "description": "The parcel left",
    "locales": {
        "en": {"title": "On its way", "body": "{{ recipient.first_name | default: 'Hello' }}, {{ event.subject }}"},
        "de": {"title": "Unterwegs", "body": "{{ recipient.first_name | default: 'Hallo' }}, {{ event.subject }}"},
    },
}
SMS = {
    "channel": "sms",
    "locales": {"de": {"text": "Code {{ event.data.code }} – gültig bis {{ event.time | date: '%H:%M' }}"}},
}
MAIL = {
    "channel": "email",
    "locales": {
        "en": {
            "subject": "Order {{ event.subject }}",
            "html": "<body><h1>Hi {{ recipient.first_name }}</h1>"
            '<p>See <a href="{{ event.data.url }}">it</a></p></body>',
            "preheader": "Thank you",
        }
    },
}


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with publishing_suite(runtime, transports) as made:
        yield made


async def put(suite: Suite, name: str, body: Any, *, match: str | None = None) -> Any:
    headers = {"if-match": match} if match else {}
    return await suite.call("templates", "PUT", f"/v1/templates/{name}", body, **headers)


async def publish(suite: Suite, name: str) -> Any:
    return await suite.call("templates", "POST", f"/v1/templates/{name}:publish")


async def preview(suite: Suite, name: str, **body: Any) -> Any:
    return await suite.call("templates", "POST", f"/v1/templates/{name}:preview", body)


async def events(runtime: Runtime) -> list[Any]:
    connection = await asyncpg.connect(runtime.dsn_of("templates"))
    rows = await connection.fetch("select type, payload from templates.outbox order by id")
    await connection.close()
    return [decode(row["type"], row["payload"]) for row in rows]


async def test_a_version_stays_as_it_was_published_while_the_draft_goes_on(suite: Suite) -> None:
    await put(suite, "parcel", PUSH)
    first = (await publish(suite, "parcel")).json()
    changed = PUSH | {"locales": {"en": {"title": "New", "body": "Words"}}}
    edited = await put(suite, "parcel", changed, match="*")

    assert edited.json()["state"] == "changed"
    kept = await suite.call("templates", "GET", "/v1/templates/parcel/versions/1")
    assert kept.json()["locales"] == PUSH["locales"]
    second = (await publish(suite, "parcel")).json()
    assert (first["version"], second["version"]) == (1, 2)


async def test_a_draft_that_says_what_is_published_counts_as_published(suite: Suite) -> None:
    await put(suite, "parcel", PUSH)
    await publish(suite, "parcel")
    edited = await put(suite, "parcel", PUSH | {"description": "It left"}, match="*")
    again = (await publish(suite, "parcel")).json()
    shown = await suite.call("templates", "GET", "/v1/templates/parcel")

    assert edited.json()["state"] == "changed"
    assert again["version"] == 1
    assert (shown.json()["state"], shown.json()["version"]) == ("published", 2)


async def test_publishing_tells_once_what_was_published(suite: Suite, runtime: Runtime) -> None:
    await put(suite, "parcel", PUSH)
    await publish(suite, "parcel")
    await publish(suite, "parcel")  # unchanged: the same version, no second event

    told = [event for event in await events(runtime) if event.TYPE == "template.published"]
    assert [(e.name, e.version, e.channel, set(e.locales)) for e in told] == [("parcel", 1, "push", {"de", "en"})]
    actions = [event.action for event in await events(runtime) if event.TYPE == "action.recorded"]
    assert actions == ["template.put", "template.publish"]


async def test_all_problems_of_all_locales_are_named_at_once(suite: Suite) -> None:
    broken = {
        "channel": "push",
        "locales": {
            "en": {"title": "{{ recipient.name }}", "body": "{% for i in (1..99999999) %}x{% endfor %}"},
            "de": {"title": "{{ a", "body": "x" * 5_000},
            "fr": {"title": "T", "body": "{{ event.data.x | nope }}", "link": "javascript:alert(1)"},
        },
    }
    assert (await put(suite, "broken", broken)).status_code == 201  # people stop in the middle of a sentence

    refused = await publish(suite, "broken")

    assert refused.status_code == 422
    assert {error["pointer"] for error in refused.json()["errors"]} == {
        "/locales/en/title",
        "/locales/en/body",
        "/locales/de/title",
        "/locales/fr/body",
    }


async def test_a_push_that_phones_would_refuse_is_refused_here(suite: Suite) -> None:
    for number, (parts, pointer) in enumerate(
        [
            ({"title": "T", "body": "x" * 5_000}, "/locales/en/body"),
            ({"title": "T", "body": "B", "data": {"google.x": "1"}}, "/locales/en/data/google.x"),
            ({"title": "T", "body": "B", "data": {"a": "{{ b"}}, "/locales/en/data/a"),
        ]
    ):
        await put(suite, f"large-{number}", {"channel": "push", "locales": {"en": parts}})

        refused = await publish(suite, f"large-{number}")

        assert refused.status_code == 422
        assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_a_preview_falls_back_from_the_region_to_the_language(suite: Suite) -> None:
    await put(suite, "parcel", PUSH)

    shown = await preview(suite, "parcel", locale="de-AT", event={"subject": "B-1"}, recipient={"first_name": "Jörg"})

    assert shown.status_code == 200, shown.text
    assert (shown.json()["locale"], shown.json()["parts"]["body"]) == ("de", "Jörg, B-1")
    assert 0 < shown.json()["sizes"]["bytes"] < 4_096


async def test_a_preview_counts_what_an_sms_costs_and_says_why(suite: Suite) -> None:
    await put(suite, "code", SMS)

    shown = (await preview(suite, "code", event={"time": "2026-03-01T09:30:00Z", "data": {"code": "123"}})).json()

    assert shown["parts"]["text"] == "Code 123 – gültig bis 10:30"
    assert (shown["sizes"]["encoding"], shown["sizes"]["segments"]) == ("ucs-2", 1)
    assert "–" in shown["warnings"][0]


async def test_a_mail_is_escaped_and_its_text_part_derived(suite: Suite) -> None:
    await put(suite, "mail", MAIL)
    event = {"subject": "B-1\r\nBcc: all@example.com", "data": {"url": "https://shop.example/?a=1&b=2"}}

    parts = (await preview(suite, "mail", event=event, recipient={"first_name": "<script>"})).json()["parts"]

    assert parts["subject"] == "Order B-1 Bcc: all@example.com"
    assert "&lt;script&gt;" in parts["html"]
    assert 'href="https://shop.example/?a=1&amp;b=2"' in parts["html"]
    assert "Thank you" in parts["html"]
    assert parts["text"] == "Hi <script>\n\nSee it (https://shop.example/?a=1&b=2)\n"


async def test_a_link_that_runs_code_is_never_rendered(suite: Suite) -> None:
    await put(suite, "mail", MAIL)

    for url in ("javascript:alert(1)", "java\tscript:alert(1)", " data:text/html,x", "vbscript:x"):
        refused = await preview(suite, "mail", event={"data": {"url": url}})

        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/locales/en/html"


async def test_a_preview_without_a_needed_value_names_it(suite: Suite) -> None:
    await put(suite, "mail", MAIL)

    refused = await preview(suite, "mail")

    assert refused.status_code == 422
    assert "event.data.url is missing" in refused.json()["detail"]


async def test_a_preview_names_all_missing_values_at_once(suite: Suite) -> None:
    html = "<p>{{ event.data.a }}</p>\n{% for i in event.data.items %}{{ i }}{% endfor %}{{ event.data.n | plus: 1 }}"
    await put(suite, "mail", {"channel": "email", "locales": {"en": {"subject": "{{ event.data.s }}", "html": html}}})

    refused = await preview(suite, "mail", event={"data": {"n": 1}})

    assert refused.json()["errors"] == [
        {"pointer": "/locales/en/html", "detail": "Line 1: event.data.a is missing."},
        {"pointer": "/locales/en/html", "detail": "Line 2: event.data.items is missing."},
        {"pointer": "/locales/en/subject", "detail": "Line 1: event.data.s is missing."},
    ]


async def test_a_preview_lacks_nothing_that_the_events_schema_does_not_require(suite: Suite) -> None:
    parts = {"title": "t", "body": "[{{ event.data.note | upcase }}] {{ event.data.total }}"}
    await put(suite, "parcel", {"channel": "push", "locales": {"en": parts}})
    schema = {"properties": {"note": {"type": "string"}, "total": {"examples": ["19.90"]}}, "required": ["total"]}

    sent = await preview(suite, "parcel", event={"data": {"total": "5.00"}}, event_schema=schema)
    invented = await preview(suite, "parcel", event_schema=schema)
    lacking = await preview(suite, "parcel", event={"data": {}}, event_schema=schema)
    nonsense = await preview(suite, "parcel", event_schema={"properties": {"note": {}, "total": {}}, "required": 1})

    assert sent.json()["parts"]["body"] == "[] 5.00"
    assert invented.json()["parts"]["body"] == "[SAMPLE] 19.90"
    assert lacking.json()["detail"] == "Line 1: event.data.total is missing."
    assert nonsense.json()["errors"] == [{"pointer": "/event_schema", "detail": "This is not a JSON Schema."}]


async def test_a_published_version_can_be_previewed_after_the_draft_changed(suite: Suite) -> None:
    await put(suite, "parcel", PUSH)
    await publish(suite, "parcel")
    await put(suite, "parcel", PUSH | {"locales": {"en": {"title": "New", "body": "Words"}}}, match="*")

    old = (await preview(suite, "parcel", version=1)).json()
    new = (await preview(suite, "parcel")).json()

    assert (old["parts"]["title"], new["parts"]["title"]) == ("On its way", "New")


async def test_two_people_editing_do_not_undo_one_another(suite: Suite) -> None:
    first = await put(suite, "parcel", PUSH)
    assert (await put(suite, "parcel", PUSH | {"description": "a"})).status_code == 428
    assert (await put(suite, "parcel", PUSH | {"description": "a"}, match=first.headers["etag"])).status_code == 200
    assert (await put(suite, "parcel", PUSH | {"description": "b"}, match=first.headers["etag"])).status_code == 412
    read = await suite.call("templates", "GET", "/v1/templates/parcel")
    assert (read.headers["etag"], read.json()["description"]) == ('"2"', "a")
    same = await put(suite, "parcel", PUSH | {"description": "a"}, match=read.headers["etag"])
    assert same.headers["etag"] == '"2"'  # a change that changes nothing leaves others' edits valid


async def test_communications_get_what_is_published_and_nothing_else(suite: Suite, runtime: Runtime) -> None:
    await put(suite, "parcel", PUSH)
    await put(suite, "draft", SMS)
    await publish(suite, "parcel")
    client = runtime.client("orders-notification", "templates")

    found = await client.post("/v1/templates:resolve", {"names": ["parcel", "draft", "gone"]}, tenant=1, mode=Mode.LIVE)
    other = await client.post("/v1/templates:resolve", {"names": ["parcel"]}, tenant=2, mode=Mode.LIVE)

    assert set(found["templates"]) == {"parcel"}
    assert other["templates"] == {}
