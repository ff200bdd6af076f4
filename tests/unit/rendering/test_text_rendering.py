"""Bounded Liquid: the fast path equals Liquid's own, missing values fail, bombs are stopped at once."""

import random
import time
from decimal import Decimal
from typing import Any

import pytest
from liquid.exceptions import LiquidError, ResourceLimitError

from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.filters import bounded
from libs.rendering.limits import LimitExceeded, RenderFailed
from libs.rendering.text import Text, Wanted

SECONDS = 2.0  # of CPU; the slowest takes 0.16, and a busy machine several times as long

VARIABLES: dict[str, Any] = {
    "event": {
        "id": "e-1",
        "subject": "B-1042",
        "time": "2026-03-01T23:30:00Z",
        "data": {
            "order": "A-7",
            "total": Decimal("1219.90"),
            "price": Decimal("19.90"),
            "text_total": "19.90",
            "count": 3,
            "big": 123456789012345678,
            "yes": True,
            "nothing": None,
            "hollow": "",
            "list": ["a", "b"],
            "object": {"amount": "5.00", "currency": "EUR"},
            "items": [{"name": "Büro & Söhne", "price": Decimal("9.95")}, {"name": "<b>", "price": 1}],
            "hostile": "a\r\nBcc: x\x00\u2028b",
            "rtl": "שלום 👋🏽",
        },
    },
    "recipient": {"first_name": "Jörg", "zone": "Europe/Berlin", "attributes": {}},
    "links": {},
}


def text(source: str, kind: str = "text", locale: str = "de", optional: frozenset[str] = frozenset()) -> Text:
    return Text(source, Wanted(ChannelEnvironment(kind, locale, optional), "/part"))


def render(source: str, kind: str = "text", locale: str = "de") -> str:
    return text(source, kind, locale).render(VARIABLES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ event.data.total | money: 'EUR' }}", "1.219,90\xa0€"),
        ("{{ event.data.object | money }}", "5,00\xa0€"),
        ("{{ event.data.price | times: 2 }}", "39.80"),
        ("{{ event.data.text_total | plus: 0.10 }}", "20.00"),
        ("{{ event.data.count | divided_by: 2 }}", "1"),
        ("{{ event.data.total | number: 1 }}", "1.219,9"),
        ("{{ event.data.big }}", "123456789012345678"),
        ("{{ event.data.price }}", "19.90"),
        ("{{ event.data.price | round }}", "20"),
        ("{{ event.data.items | map: 'price' | sum }}", "10.95"),
        ("{{ event.data.items | sum: 'price' | times: 2 }}", "21.90"),
        ("{{ event.data.items | sum: 'stock' }}", "0"),
        ("{{ '0.10 0.20 123456789012345678' | split: ' ' | sum }}", "123456789012345678.30"),
        ("{{ event.data.list | concat: event.data.list | size }}", "4"),
        ("{{ event.data.yes }}", "true"),
        ("{{ event.data.nothing }}", ""),
        ("{{ event.data.list }}", "ab"),
        ("{{ event.data.list | join: ', ' }}", "a, b"),
        ("{{ event.data.items[0].name }}", "Büro & Söhne"),
        ("{{ event.data.items.size }}", "2"),
        ("{{ event.data.rtl }}", "שלום 👋🏽"),
        ("{{ event.time | date: '%d. %B %Y, %H:%M' }}", "02. März 2026, 00:30"),
        ("{{ event.time | date: '%-d.%-m.', 'UTC' }}", "1.3."),
        ("{{ event.time | date: 'long' }}", "2. März 2026"),
        ("{{ recipient.last_name | default: 'du' }}", "du"),
        ("{{ event.data.gone | default: 'x' }}", "x"),
        ("{{ recipient.attributes.tier }}", ""),
        ("{% if event.data.gone %}a{% else %}b{% endif %}", "b"),
        ("{% for i in event.data.items %}{{ forloop.index }} {{ i.price | number: 2 }};{% endfor %}", "1 9,95;2 1,00;"),
        ("{% assign n = event.data.order %}{{ n | downcase }}", "a-7"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{% comment %}{{ nope }}{% endcomment %}.", "."),
    ],
)  # fmt: skip
def test_a_text_is_formatted_for_its_locale(source: str, expected: str) -> None:
    assert render(source) == expected


def test_money_is_formatted_for_the_texts_locale() -> None:
    assert render("{{ event.data.total | money: 'EUR' }}", locale="en") == "€1,219.90"


@pytest.mark.parametrize("kind", ["text", "html", "json"])
def test_the_fast_path_renders_what_liquid_renders(kind: str) -> None:
    rng = random.Random(7)
    paths = [f"event.data.{name}" for name in VARIABLES["event"]["data"]] + [
        "event.subject", "recipient.first_name", "recipient.attributes.tier", "event.data.gone", "'a <&> text'", "7",
    ]  # fmt: skip
    filters = [
        "upcase", "default: 'x'", "append: ' <b>'", "append: event.data.order", "json", "money: 'EUR'", "escape",
        "size", "truncate: 3", "times: 3", "url_encode", "first", "strip_newlines", "newline_to_br", "date: '%Y'",
    ]  # fmt: skip
    compared = 0
    for _ in range(600):
        chosen = "".join(f" | {rng.choice(filters)}" for _ in range(rng.randint(0, 3)))
        try:
            compiled = text(f"a <b> {{{{ {rng.choice(paths)}{chosen} }}}} z", kind)
        except Invalid:
            continue  # a constant that always fails is refused earlier
        outcomes = []
        for way in (compiled.render, compiled.render_by_liquid):
            try:
                outcomes.append(("text", way(VARIABLES)))
            except LiquidError:
                outcomes.append(("error", ""))
            except RenderFailed:
                outcomes.append(("error", ""))
        compared += outcomes[0][0] == "text"
        assert outcomes[0] == outcomes[1]
    assert compared > 200


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ event.data.gone }}", "event.data.gone is missing"),
        ("{{ event.data.gone | upcase }}", "event.data.gone is missing"),
        ("{{ event.data.gone | money: 'EUR' }}", "event.data.gone is missing"),
        ("{{ event.data.order.deep }}", "event.data.order.deep is missing"),
        ("{% for i in event.data.gone %}x{% endfor %}", "event.data.gone is missing"),
        ("{% for i in event.data.items %}{{ i.gone }}{% endfor %}", "i.gone is missing"),
        ("{{ event.data.order | money: 'EUR' }}", "not a number"),
        ("{{ event.data.list | sum }}", "not a number"),
        ("{{ event.data.list | concat: event.data.order }}", "oncat needs a list"),
        ("{{ event.data.total | money }}", "needs a currency"),
        ("{{ event.data.total | money: '' }}", "needs a currency"),
        ("{{ event.data.total | money: 'XXL' }}", "'XXL' is not the code of a currency"),
        ("{{ event.data.count | divided_by: 0 }}", "ivision by zero"),
        ("{{ event.data.order | date: '%Y' }}", "is not a time"),
        ("{{ event.time | date: '%Y', 'Mars/Base' }}", "not a time zone"),
        (
            "{{ event.data.count | times: 99999999999999999999999999 | times: 99999999999999999999999999999999999 }}",
            "digits",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_named(source: str, says: str) -> None:
    with pytest.raises(RenderFailed) as failed:
        render(source)

    assert says in failed.value.detail
    assert failed.value.errors[0].pointer == "/part"
    assert failed.value.reason is Reason.RENDER_FAILED


def test_a_missing_optional_field_renders_empty() -> None:
    source = "a{{ event.data.gone }}{% for i in event.data.items %}{{ i.gone }}{% endfor %}b"

    assert text(source, optional=frozenset({"event.data.gone", "i.gone"})).render(VARIABLES) == "ab"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..100000000) %}x{% endfor %}",
        "{% for i in (1..100000000) reversed %}x{% endfor %}",
        "{{ (1..event.data.big) | join }}",
        "{% for i in (1..9999) %}{% for j in (1..9999) %}{% endfor %}{% endfor %}",
        "{% for a in (1..99) %}" * 3 + "{% assign x = 1 %}" + "{% endfor %}" * 3,
        "{% for i in (1..9999) %}" + "{{ event.data.hollow }}" * 500 + "{% endfor %}",
        "{% assign s = 'aaaaaaaaaa' %}" + "{% assign s = s | append: s %}" * 30,
        "{% assign s = 'aaaaaaaaaa' %}" + "{% assign s = s | replace: 'a', s %}" * 6,
        "{% assign s = 'aaaaaaaaaa' | split: '' %}" + "{% assign s = s | concat: s %}" * 30,
        "{% for i in (1..2000) %}{% capture s %}{{ s }}aaaaaaaaaaaaaaaaa{% endcapture %}{% endfor %}{{ s }}{{ s }}",
        "{% for i in (1..9999) %}aaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}",
        "{% for i in (1..9999) %}{% if event.data.long contains 'aaaab' %}{% endif %}{% endfor %}",
        "{% for i in (1..9999) %}{% if event.data.many contains i %}{% endif %}{% endfor %}",
        "{{ event.data.nested | sum }}",
        "{{ event.data.nested | join: '' | size }}",
    ],
)  # fmt: skip
def test_a_bomb_is_stopped_early(source: str) -> None:
    started = time.process_time()
    many = list(range(5_000))
    large = {"long": "a" * 100_000, "many": many, "nested": [many] * 1_000}
    variables = VARIABLES | {"s": "", "event": {"data": VARIABLES["event"]["data"] | large}}

    with pytest.raises(LimitExceeded):
        text(source).render(variables)

    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
    "source",
    [
        "{{" * 6_000,
        "{% " * 5_000,
        "{% raw %}" * 1_500,
        "{% if a %}" * 1_500,
        "{{ a" + " " * 1_900 + "}}",
        "{{ a" + "[a" * 500 + "]" * 500 + " }}",
        "{% if " + "a and " * 3_000 + "a %}x{% endif %}",
        "{{ 'now' | date: '%Y' }}",
        "{{ (1..100000000) | join }}",
        "{{ 'a' | date: '%999999999d' }}",
        "{{ event.data.order | nope }}",
        "{% include 'secret' %}",
        "{% render 'secret' %}",
        "{{ event.data.order | safe }}",
        "{% unknown %}",
        "{% if x %}",
        "x" * 20_000,
    ],
)
def test_an_uncompilable_source_is_refused_quickly(source: str) -> None:
    started = time.process_time()

    with pytest.raises(Invalid) as refused:
        text(source)

    assert refused.value.errors[0].pointer == "/part"
    assert refused.value.errors[0].detail
    assert time.process_time() - started < SECONDS


def test_equal_items_of_a_long_list_are_found_quickly() -> None:
    started = time.process_time()
    items = [{"sku": number // 2} for number in range(9_990)]

    made = text("{{ event.data.items | uniq | size }}").render({"event": {"data": {"items": items}}})

    assert made == "4995"
    assert time.process_time() - started < SECONDS


def test_control_characters_never_reach_a_phone() -> None:
    assert render("{{ event.data.hostile }}") == "a\nBcc: x\nb"


def test_html_values_are_escaped_and_our_own_markup_is_not() -> None:
    assert render("{{ event.data.items[1].name }}", "html") == "&lt;b&gt;"
    assert (
        render("{% capture x %}<i>{{ event.data.items[1].name }}</i>{% endcapture %}{{ x }}", "html")
        == "<i>&lt;b&gt;</i>"
    )
    assert render("{{ 'a<\nb' | newline_to_br }}", "html") == "a<<br />\nb"


def test_every_tag_that_prints_escapes() -> None:
    for source in (
        "{% echo event.data.items[1].name %}",
        "{% cycle event.data.items[1].name %}",
        "{% liquid\necho event.data.items[1].name %}",
        "{% if true %}{{ event.data.items[1].name }}{% endif %}",
        "{% for item in event.data.items offset: 1 %}{{ item.name }}{% endfor %}",
    ):
        assert render(source, "html") == "&lt;b&gt;"


def test_json_accepts_values_inside_and_outside_of_quotes() -> None:
    source = (
        '{"a": "{{ event.data.hostile }}", "b": {{ event.data.price }}, '
        '"c": {{ event.data.object | json }}, "d": {{ event.data.nothing }}}'
    )

    assert render(source, "json") == (
        '{"a": "a\\r\\nBcc: x\\u0000\u2028b", "b": 19.90, "c": {"amount":"5.00","currency":"EUR"}, "d": null}'
    )


@pytest.mark.parametrize(
    ("name", "arguments"), [("replace", ("a" * 1_000, "a", "b" * 1_000)), ("join", (["a" * 100] * 2_000, "b" * 100))]
)
def test_a_multiplying_filter_is_stopped_before_it_allocates(name: str, arguments: Any) -> None:
    made: list[Any] = []

    with pytest.raises(ResourceLimitError):
        bounded(name, lambda *given: made.append(given))(*arguments)

    assert made == []
