"""Anything may be put into a template or a preview: a 4xx that says what and where, never a 500, and quickly."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.service import Runtime
from libs.service_client import Transport
from tests.flows.publishing_suite import Suite, publishing_suite

PUSH = {"title": "T", "body": "{{ event.data.x }}{{ recipient.first_name | upcase }}"}
HOSTILE_SOURCES = [
    "{{" * 5_000,
    "{% if a %}" * 1_000,
    "{% for i in (1..999999999999999999999999) %}x{% endfor %}",
    "{{ 'a' | date: '%999999999d' }}",
    "{% assign x = 'a' %}" + "{% assign x = x | append: x %}" * 60 + "{{ x }}",
    "{% include '/etc/passwd' %}",
    "{{ recipient.__class__.__mro__ }}",
    "{% liquid\nfor i in (1..9999)\nfor j in (1..9999)\necho i\nendfor\nendfor %}",
    "😀 {{ 'x' | nope }}",
]
HOSTILE_VALUES: list[dict[str, Any]] = [
    {"event": {"data": []}},
    {"event": {"data": {"x": {"a": [[[1]]]}}}},
    {"event": {"data": {"x": 10**399}}},
    {"event": {"data": None}},
    {"event": {}},
    {"event": {"data": {"x": "y" * 900_000}}},
    {"recipient": {"first_name": ["x"], "zone": 5, "locale": {}}},
    {"locale": "../../etc"},
    {"locale": "x" * 35},
    {"version": 99},
]
HOSTILE_SHAPES: list[Any] = [
    {},
    {"../x": {"title": "T", "body": "B"}},
    {"en": {}},
    {"en": {"title": 1, "body": []}},
    {"en": {"title": "T", "body": "B", "data": {"x": {"y": 1}}}},
    {"en": {"title": "T", "body": "B", "nope": "x"}},
    {"en": {"title": "T", "body": "x" * 300_000}},
    {"e~n/": {"title": "T", "body": "B"}},
]


@pytest.fixture
async def suite(runtime: Runtime, transports: dict[str, Transport]) -> AsyncIterator[Suite]:
    async with publishing_suite(runtime, transports) as made:
        yield made


async def test_hostile_sources_are_refused_with_their_place(suite: Suite) -> None:
    for number, source in enumerate(HOSTILE_SOURCES):
        name = f"hostile-{number}"
        body = {"channel": "push", "locales": {"en": {"title": "T", "body": source}}}
        put = await suite.call("templates", "PUT", f"/v1/templates/{name}", body)
        assert put.status_code == 201, put.text
        started = time.process_time()

        refused = await suite.call("templates", "POST", f"/v1/templates/{name}:publish")

        assert refused.status_code == 422, (source[:60], refused.text)
        assert refused.json()["errors"][0]["pointer"] == "/locales/en/body"
        assert time.process_time() - started < 5  # a runaway takes minutes; a garbage collection, a second


async def test_hostile_values_never_break_a_preview(suite: Suite) -> None:
    body = {"channel": "push", "locales": {"en": PUSH}}
    await suite.call("templates", "PUT", "/v1/templates/plain", body)
    for values in HOSTILE_VALUES:
        answer = await suite.call("templates", "POST", "/v1/templates/plain:preview", values)

        assert answer.status_code in (200, 404, 413, 422), (str(values)[:80], answer.text)
        assert answer.status_code == 200 or answer.json()["detail"]


async def test_drafts_of_the_wrong_shape_are_refused_and_nothing_is_written(suite: Suite) -> None:
    for locales in HOSTILE_SHAPES:
        refused = await suite.call("templates", "PUT", "/v1/templates/odd", {"channel": "push", "locales": locales})

        assert refused.status_code == 422, locales
        assert refused.json()["errors"][0]["pointer"].startswith("/locales")
        assert (await suite.call("templates", "GET", "/v1/templates/odd")).status_code == 404
