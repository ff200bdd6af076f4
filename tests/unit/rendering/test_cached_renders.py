"""The cache of renders gives nobody another customer's text."""

from typing import Any

import pytest

from libs.rendering import compile_release


def release(locales: Any, channel: str = "push") -> Any:
    return compile_release(
        {"id": "r-1", "default_locale": "en", "templates": {"t": {"channel": channel, "locales": locales}}}
    )


def variables(name: Any = "Anna", price: Any = "1") -> dict[str, Any]:
    return {"recipient": {"first_name": name}, "event": {"data": {"price": price}}, "links": {}}


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ event.data.price.size }}", ("1", "3")),
        ("{{ event.data.price.first }}", ("kettle", "lamp")),
        ("{{ event.data.price.last.name }}", ("Kettle", "Lamp")),
        ("{% if event.data.price.size > 1 %}several{% else %}one{% endif %}", ("one", "several")),
    ],
)
def test_the_cache_never_gives_one_customers_items_to_another(source: str, reads: tuple[str, str]) -> None:
    made = release({"en": {"title": "T", "body": source}})
    named = "name" in source
    one = [{"name": "Kettle"}] if named else ["kettle"]
    several = [{"name": "Cup"}, {"name": "Lamp"}] if named else ["lamp", "cup", "jug"]

    assert tuple(made.render("t", "en", variables(price=items)).content.body for items in (one, several)) == reads


def test_the_cache_never_gives_one_zones_time_to_another() -> None:
    made = release({"en": {"title": "T", "body": "{{ event.time | date: '%H:%M' }}"}})
    times = [
        made.render("t", "en", {"event": {"time": "2026-03-01T09:30:00Z"}, "recipient": {"zone": zone}}).content.body
        for zone in ("Europe/Vienna", "America/New_York")
    ]

    assert times == ["10:30", "04:30"]


def test_the_cache_distinguishes_numbers_from_their_texts() -> None:
    made = release({"en": {"json": "[{{ event.data.price | json }}]"}}, "webhook")

    assert [made.render("t", "en", variables(price=price)).content.body for price in (1, "1")] == [b"[1]", b'["1"]']


def test_the_cache_distinguishes_names_and_objects_by_their_size() -> None:
    made = release({"en": {"title": "T", "body": "{{ recipient.first_name.size }} {{ event.data.price.size }}"}})
    bodies = [
        made.render("t", "en", variables(name=name, price=price)).content.body
        for name, price in (("Anna", {"a": 1}), ("Maximilian", {"a": 1}), ("Anna", {"a": 1, "b": 2}))
    ]

    assert bodies == ["4 1", "10 1", "4 2"]
