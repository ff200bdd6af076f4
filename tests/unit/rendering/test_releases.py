"""A release renders equal input equally, in the nearest available locale."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.errors import Invalid
from libs.rendering import (
    EmailContent,
    PushContent,
    RenderFailed,
    check_template,
    compile_release,
    content_digest,
    optional_variables,
    unknown_variables,
)
from libs.rendering.locales import chain, normalised

LOCALES = {
    "de": {"title": "Hallo {{ recipient.first_name }}", "body": "Nur {{ event.data.price }}"},
    "de-AT": {"title": "Servus {{ recipient.first_name }}", "body": "Nur {{ event.data.price }}"},
    "en": {"title": "Hello {{ recipient.first_name }}", "body": "Only {{ event.data.price }}"},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["price", "items", "address"],
    "properties": {
        "price": {"type": "number"},
        "note": {"type": "string"},
        "items": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {}, "sku": {"type": "string"}}},
        },
        "address": {"$ref": "#/$defs/address"},
        "free": {"type": "object"},
        "size": {"type": "string"},
    },
    "$defs": {"address": {"allOf": [{"properties": {"city": {"type": "string"}}, "required": ["city"]}]}},
}


def release(locales: Any = None, default: str = "en", **more: Any) -> Any:
    bundle = {
        "id": "r-1",
        "default_locale": default,
        "templates": {"t": {"channel": "push", "version": 1, "locales": locales or LOCALES, **more}},
    }
    return compile_release(bundle)


def variables(name: Any = "Anna", price: Any = "1") -> dict[str, Any]:
    return {"recipient": {"first_name": name}, "event": {"data": {"price": price}}, "links": {}}


@pytest.mark.parametrize(
    ("locale", "gets"),
    [
        ("de-AT", "de-AT"),
        ("de-CH", "de"),
        ("de", "de"),
        ("fr-CA", "en"),
        (None, "en"),
        ("DE_at", "de-AT"),
        ("??", "en"),
    ],
)
def test_a_recipient_gets_the_nearest_locale(locale: str | None, gets: str) -> None:
    assert release().render("t", locale, variables()).locale == gets


@pytest.mark.parametrize("locale", ["fr", None])
def test_who_speaks_another_language_gets_the_tenants_though_english_exists(locale: str | None) -> None:
    assert release(default="de-AT").render("t", locale, variables()).locale == "de-AT"


def test_a_locale_chain_ends_at_the_tenants_default() -> None:
    assert chain("de-AT", "en-GB") == ["de-AT", "de", "en-GB", "en"]
    assert normalised("ZH_hant_tw") == "zh-Hant-TW"
    assert normalised("../../etc") is None


def test_equal_values_share_one_content() -> None:
    made = release()

    assert made.render("t", "de", variables()) is made.render("t", "de", variables())
    assert made.render("t", "de", variables()) is not made.render("t", "de", variables(name="Berta"))


@pytest.mark.parametrize(
    ("one", "other"),
    [(Decimal("19.9"), Decimal("19.90")), (1, True), (1, "1.0"), (None, "None"), (1, Decimal("1.0"))],
)
def test_values_equal_in_python_but_rendered_differently_are_distinguished(one: Any, other: Any) -> None:
    made = release()

    first = made.render("t", "de", variables(price=one)).content.body
    second = made.render("t", "de", variables(price=other)).content.body

    assert first != second
    assert made.render("t", "de", variables(price=one)).content.body == first


def test_the_cache_stays_small_and_stops_where_nothing_repeats() -> None:
    made = release()
    for number in range(600):
        made.render("t", "de", variables(name=str(number)))
    for number in range(9_000):
        made.render("t", "en", variables(name=str(number % 3)))

    assert made._memos[("t", "de")]._entries is None
    assert len(made._memos[("t", "en")]._entries) == 3


def test_the_digest_covers_what_the_recipient_gets() -> None:
    one = content_digest(PushContent("a", "b", data={"x": "1", "y": "2"}))

    assert one == content_digest(PushContent("a", "b", data={"y": "2", "x": "1"}))
    assert one != content_digest(PushContent("ab", "", data={"x": "1", "y": "2"}))
    assert one != content_digest(PushContent("a", "b", link="x", data={"x": "1", "y": "2"}))


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (PushContent("a", "b"), {"title": "x", "body": "x", "image": "x", "link": "x", "collapse_key": "x",
                                 "ttl_seconds": 0, "data": {"x": ""}}),
        (EmailContent("a", "b", "c"), {"subject": "x", "page": "x", "words": "x", "from_name": "x", "reply_to": "x"}),
    ],
)  # fmt: skip
def test_every_field_that_a_recipient_gets_changes_the_digest(content: Any, changes: dict[str, Any]) -> None:
    others = [msgspec.structs.replace(content, **{name: value}) for name, value in changes.items()]

    assert len({content_digest(each) for each in (content, *others)}) == len(others) + 1


def test_a_template_missing_from_the_release_is_reported() -> None:
    with pytest.raises(RenderFailed, match="publish the communication again"):
        release().render("gone", "de", variables())


def test_a_release_knows_whether_it_needs_links() -> None:
    assert not release().texts("t").needs_links
    assert release({"en": {"title": "T", "body": "{{ links.unsubscribe }}"}}).texts("t").needs_links


def test_a_text_that_no_longer_compiles_fails_with_its_pointer() -> None:
    made = release({"en": {"title": "{{ a", "body": "{% if %}"}, "de": LOCALES["de"]})

    assert made.render("t", "de", variables())
    with pytest.raises(RenderFailed) as failed:
        made.render("t", "en", variables())
    assert {error.pointer for error in failed.value.errors} == {
        "/templates/t/locales/en/title",
        "/templates/t/locales/en/body",
    }


@pytest.mark.parametrize("templates", [None, [], {"t": {}}, {"t": {"channel": "push", "locales": {}}}])
def test_a_bundle_without_texts_is_refused(templates: Any) -> None:
    with pytest.raises(Invalid):
        compile_release({"id": "r", "templates": templates})


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("{{ event.data.price }}", True),
        ("{{ event.data.prize }}", False),
        ("{{ event.data.address.city }}", True),
        ("{{ event.data.address.town }}", False),
        ("{{ event.data.items[0].name }}", True),
        ("{{ event.data.items.first.name }}", True),
        ("{{ event.data.items.size }}", True),
        ("{{ event.data.size }}", True),
        ("{{ event.data.items[0].nam }}", False),
        ("{% for i in event.data.items %}{{ i.name }}{{ forloop.index }}{% endfor %}", True),
        ("{% for i in event.data.items %}{{ i.nme }}{% endfor %}", False),
        ("{% assign a = event.data.address %}{{ a.city }}", True),
        ("{% assign a = event.data.address %}{{ a.ctiy }}", False),
        ("{% for pair in event.data.address %}{{ pair.first }}: {{ pair[1] }}{{ pair.last }}{% endfor %}", True),
        ("{% for pair in event.data.address %}{{ pair.town }}{% endfor %}", False),
        ("{{ event.data.free.anything.goes }}", True),
        ("{{ event.data.price.cents }}", False),
        ("{{ recipient.attributes.tier }}", True),
        ("{{ recipient.name }}", False),
        ("{{ event.number }}", False),
        ("{{ order.id }}", False),
        ("{{ links.unsubscribe }}", True),
        ("{% if event.data.cuopon %}x{% endif %}", False),
        ("{{ event.data.price | default: event.data.prcie }}", False),
        ("{% capture x %}a{% endcapture %}{{ x }}", True),
        ("{% for i in event.data.items %}{{ forloop.counter }}{% endfor %}", False),
        ("{% for i in event.data.items %}{% if forloop.frist %}x{% endif %}{% endfor %}", False),
        ("{% for i in event.data.items %}{% for j in event.data.items %}{{ forloop.parentloop.index }}"
         "{% endfor %}{% endfor %}", True),
    ],
)  # fmt: skip
def test_unknown_variables_are_found_before_anything_is_sent(source: str, known: bool) -> None:
    found = unknown_variables("push", {"en": {"title": "T", "body": source}}, SCHEMA)

    assert (not found) is known
    assert {error.pointer for error in found} <= {"/locales/en/body"}


def test_a_missing_optional_field_renders_empty_and_a_required_one_fails() -> None:
    locales = {"en": {"title": "T", "body": "a{{ event.data.note }}{{ event.data.price }}b"}}
    optional = optional_variables("push", locales, SCHEMA)
    made = release(locales, optional=optional)

    assert optional == ["event.data.note"]
    assert made.render("t", "en", {"event": {"data": {"price": 1}}}).content.body == "a1b"
    with pytest.raises(RenderFailed, match=r"event\.data\.price is missing"):
        made.render("t", "en", {"event": {"data": {"note": "x"}}})


@pytest.mark.parametrize("around", ["{}", "{{% if event.data.price %}}{}{{% endif %}}"])
@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ("{{ event.data.price | money }}", False),
        ("{{ event.data.note | money }}", False),
        ("{{ event.data.price | money: 'EUR' }}", True),
        ("{{ event.data.free | money }}", True),
        ("{{ event.data.price | money: event.data.note }}", True),
    ],
)
def test_an_amount_without_a_currency_is_found_before_anything_is_sent(around: str, source: str, fits: bool) -> None:
    found = unknown_variables("push", {"en": {"title": "T", "body": around.format(source)}}, SCHEMA)

    assert (not found) is fits


def test_a_comment_of_another_template_language_is_not_sent_to_customers() -> None:
    parts = {"title": "T", "body": "a\n{# not for customers #}b", "data": {}}

    found = check_template("push", {"de": parts})

    assert [(error.pointer, error.detail[:7]) for error in found] == [("/locales/de/body", "Line 2:")]
    assert check_template("push", {"de": parts | {"body": "{#a{b}#} {# \n #}"}}) == []


def test_a_problem_of_a_mails_html_is_not_repeated_for_its_derived_text() -> None:
    found = check_template("email", {"en": {"subject": "s", "html": "{{ event.subject | nope }}"}})

    assert [error.pointer for error in found] == ["/locales/en/html"]
    found = check_template("email", {"en": {"subject": "s", "html": "{{ a | nope }}", "text": "{{ b | nope }}"}})
    assert list(dict.fromkeys(error.pointer for error in found)) == ["/locales/en/html", "/locales/en/text"]


def test_a_bomb_is_found_when_it_is_published() -> None:
    bomb = "{% for i in (1..9000) %}{% for j in (1..9000) %}{% endfor %}{% endfor %}"

    assert [e.pointer for e in check_template("sms", {"en": {"text": bomb}})] == ["/locales/en/text"]


@pytest.mark.parametrize("tag", ["de", "en", "ar", "xx-YY", "zh-Hant-TW", "pt_BR"])
def test_money_can_be_formatted_in_any_locale(tag: str) -> None:
    made = compile_release(
        {
            "id": "r",
            "default_locale": tag,
            "templates": {"t": {"channel": "sms", "locales": {tag: {"text": "{{ event.data.price | money: 'EUR' }}"}}}},
        }
    )

    assert "€" in made.render("t", tag, variables(price="19.90")).content.text
