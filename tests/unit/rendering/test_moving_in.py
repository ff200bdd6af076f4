"""A template of another platform: what cannot stay as it is is refused when it is published, all of it at once."""

from typing import Any

import pytest

from libs.rendering import RenderFailed, check_template, compile_template, unknown_variables
from libs.rendering.contents import EmailContent, PushContent
from libs.rendering.limits import MAX_SOURCE

SCHEMA = {
    "type": "object",
    "properties": {
        "total": {"type": "string"},
        "paid": {"type": ["number", "null"]},
        "price": {"type": "object", "properties": {"amount": {"type": "string"}, "currency": {"type": "string"}}},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "string"}}}},
    },
}


def refused(html: str) -> list[str]:
    return [problem.detail for problem in check_template("email", {"en": {"subject": "s", "html": html}})]


def pushed(body: str, **data: Any) -> str:
    optional = frozenset({"event.data.lost"})
    variables = {"event": {"time": "2026-03-01T09:30:00Z", "data": data}, "recipient": {}, "links": {}}
    made = compile_template("push", "en", {"title": "t", "body": body}, optional=optional).render(variables)
    assert isinstance(made, PushContent)
    return made.body


@pytest.mark.parametrize(
    ("written", "instead"),
    [("Y", "%Y"), ("F j, Y", "%B %-d, %Y"), ("d.m.Y H:i", "%d.%m.%Y %H:%M"), ("abbreviated_date", "%d.%m.%Y")],
)
def test_a_date_in_the_letters_of_another_platform_is_not_sent_as_letters(written: str, instead: str) -> None:
    source = f"a\n{{{{ event.data.at|date:'{written}' }}}}"

    assert refused(source) == [
        f"Line 2: the filter 'date': '{written}' has no directive; write \"{instead}\" or a name like \"long\"."
    ]


def test_a_release_from_before_such_a_check_is_still_sent() -> None:
    assert (
        pushed("{{ event.time | date: 'Y' }}{% if event.data.lost %}{{ event.data.a | plus: 1 | money }}{% endif %}")
        == "Y"
    )


@pytest.mark.parametrize("style", ["", "long", "time", "datetime_short", "%Y", "um %H Uhr"])
def test_our_own_date_formats_are_accepted(style: str) -> None:
    assert refused(f"{{{{ event.time | date: '{style}' }}}}") == []


@pytest.mark.parametrize(
    "placeholder",
    ["*|FNAME|*", "*|IF:VIP|*", "%%first_name%%", "%%=v(@total)=%%", "<%= name %>", "<%asm_group_unsubscribe_url%>",
     "{$name}", "${first_name}", "%recipient.name%", "%Order.OrderNumber%", "%FIRSTNAME%"],
)  # fmt: skip
def test_a_placeholder_of_another_platform_is_not_sent_to_customers(placeholder: str) -> None:
    for part in (f"<p>\n{{{{ event.data.a }}}}{placeholder}</p>", f"{{% comment %}}\n{{% endcomment %}}{placeholder}"):
        said = refused(part)
        assert [sentence.partition(";")[0] for sentence in said] == [f"Line 2: {placeholder} would be sent as text"]


def test_the_link_to_unsubscribe_is_named_for_a_placeholder_that_means_it() -> None:
    assert refused("<a href='*|UNSUB|*'>x</a>") == [
        "Line 1: *|UNSUB|* would be sent as text; write a variable, as in {{ links.unsubscribe }}."
    ]


@pytest.mark.parametrize(
    "text",
    ["100% of 50%% off", "${{ event.data.total }}", "5*|*3", "https://x.example/%E2%82%AC%EF%BB%BF", "<!-- % -->",
     "<p style='width:100%;height:50%'>", "{{ '*|FNAME|*' }}{% raw %}%FIRSTNAME%{% endraw %}", "{$} ${} %A%"],
)  # fmt: skip
def test_signs_that_are_meant_as_text_are_sent(text: str) -> None:
    assert refused(text) == []


def test_all_amounts_without_a_currency_are_named_at_once() -> None:
    html = """{{ event.data.total | money }} {{ event.data.price | money }}
{% for line in event.data.lines %}{{ line.price | money }}{% endfor %}
{% if event.data.paid %}{{ event.data.paid | default: 0 | money }}{% endif %}"""
    found = unknown_variables("email", {"en": {"subject": "s", "html": html}}, SCHEMA)

    assert [problem.detail for problem in found] == [
        'Money needs a currency, as in {{ total | money: "EUR" }}. (lines 1, 2, 3)'
    ]


def test_a_sum_has_no_currency_whatever_the_schema() -> None:
    html = """{{ event.data.a | plus: event.data.b | money }}
{% assign sum = 0 %}{% for line in event.data.lines %}{% assign sum = sum | plus: line.price %}{% endfor %}
{{ sum | money }}{{ sum | money: "EUR" }}{{ event.data.price | money }}"""

    assert [sentence[:30] for sentence in refused(html)] == [f"Line {line}: money needs a currency" for line in (1, 3)]


@pytest.mark.parametrize(
    ("amount", "reads"),
    [
        ({"currencyCode": "EUR", "centAmount": 1990, "fractionDigits": 2, "type": "centPrecision"}, "€19.90"),
        ({"currencyCode": "EUR", "centAmount": 1990}, "€19.90"),
        ({"currencyCode": "JPY", "centAmount": 1990, "fractionDigits": 0}, "¥1,990"),
        ({"amount": "44.52", "currency_code": "USD"}, "$44.52"),
        ({"value": 5, "currency": "EUR"}, "€5.00"),
        ({"amount": None, "currency": "EUR"}, ""),
    ],
)
def test_an_amount_is_read_as_shops_send_it(amount: dict[str, Any], reads: str) -> None:
    assert pushed("{{ event.data.price | money }}.", price=amount) == f"{reads}."


def test_an_object_without_an_amount_is_not_a_price_of_nothing() -> None:
    with pytest.raises(RenderFailed, match="money needs an amount"):
        pushed("{{ event.data.price | money }}", price={"currency": "EUR"})


def test_what_an_event_may_lack_is_no_price_of_zero() -> None:
    assert pushed("{{ event.data.lost | money: 'EUR' }}{{ event.data.lost | number: 2 }}.") == "."
    assert pushed("{{ event.data.a | money: 'EUR' }}{{ event.data.b | number }}.", a=None, b=" ") == "."
    assert pushed("{{ event.data.a | money: 'EUR' }}", a="0") == "€0.00"


def test_a_template_of_braze_is_refused_with_all_its_faults() -> None:
    html = """{% if {{custom_attribute.${vip}}} == true %}Hi {{${first_name}}}{% endif %}
{% assign total = {{event_properties.${total}}} %}{{ total | money_without_currency }}
{% connected_content https://x.example :save answer %}{{ answer.name }} {{ city }}
{% abort_message('no') %}{% else if event.data.x %}"""
    lines = [sentence.split(":")[0] for sentence in refused(html) if sentence.startswith("Line")]

    assert lines == ["Line 1", "Line 1", "Line 2", "Line 2", "Line 3", "Line 4", "Line 4"]
    assert [sentence for sentence in refused(html) if "is not known" in sentence] == [
        "The variable 'city' is not known; use event, recipient or links, perhaps event.data.city. (line 3)"
    ]


def test_a_template_of_klaviyo_is_refused_with_all_its_faults() -> None:
    html = """{{ first_name|default:'there' }} {% if person.first_name and not person.vip %}x{% endif %}
{% for item in event.extra.line_items %}{{ item.title }} {{ item.price|floatformat:2 }}{% endfor %}
{% with worth=event|lookup:'$value' %}{% if worth < 79 %}low{% endif %}{% endwith %}
{% for item in event.extra.items|slice:3 %}{{ item.name }}{% endfor %}
<a href="{{ unsubscribe_url }}">x</a>"""

    assert [sentence.partition(";")[0] for sentence in refused(html)] == [
        "Line 1: disallowed not operator in logical expression",
        "The variable 'first_name' is not known",
        "Line 2: the filter 'floatformat': it does not exist",
        "event has no field 'extra'",
        "Line 3: there is no tag 'with': write assign.",
        "Line 4: expected 'reversed', 'offset' or 'limit'",
        "The variable 'unsubscribe_url' is not known",
    ]
    assert "perhaps recipient.first_name" in refused(html)[1]
    assert "perhaps event.data.extra" in refused(html)[3]
    assert "perhaps links.unsubscribe" in refused(html)[6]


def test_faults_inside_a_block_that_is_not_closed_are_named_too() -> None:
    html = "{% if event.data.a %}\n{{ x | nope }}\n{% for i in event.data.l %}{{ i.z }}{% endif %}{{ i.b | nope }}"

    assert [sentence[:40] for sentence in refused(html)] == [
        "Line 2: the filter 'nope': it does not e",
        "The variable 'x' is not known; use event",
        "Line 3: {% for %} is never closed; add {",
        "Line 3: the filter 'nope': it does not e",
    ]


def test_a_variable_is_named_once_with_its_lines_and_not_where_a_loop_reads_it() -> None:
    html = "{{ shop.name }}\n{% for line in items %}\n{{ line.title }}{{ line.price }}\n{% endfor %}{{ shop.name }}"

    assert refused(html) == [
        "The variable 'shop' is not known; use event, recipient or links, perhaps event.data.shop. (lines 1, 4)",
        "The variable 'items' is not known; use event, recipient or links, perhaps event.data.items. (line 2)",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{> footer }}", "found >; a template cannot include another"),
        ("{{/each}}", "write {% endif %} or {% endfor %}"),
        ("{{else}}", "write {% else %}"),
        ("{{! not for customers }}", "write {% comment %}"),
        ("{{^items}}", "write {% unless … %}"),
        ("{{ event.data.First Name }}", 'write event.data["first name"]'),
        ("{% if (event.data.a) and event.data.b %}x{% endif %}", "write one {% if … %} in another"),
        ("{% if event.data.list | size > 2 %}x{% endif %}", "assign the filtered value before"),
        ("{{ event.data.a | default('b') }}", "with a colon"),
        ("{{ event.data.a if event.data.b else 'c' }}", "write {% if … %} … {% else %}"),
    ],
)
def test_a_construct_of_another_language_is_refused_with_what_to_write(source: str, said: str) -> None:
    found = refused(source)

    assert len(found) == 1
    assert said in found[0]


def test_a_mail_with_inlined_styles_of_a_quarter_million_characters_is_accepted() -> None:
    row = f"<tr style='{'mso-table-lspace: 0pt; ' * 100}'><td>{{{{ event.data.a }}}}</td></tr>\n"
    html = row * (MAX_SOURCE // len(row))
    made = compile_template("email", "en", {"subject": "s", "html": html}).render({"event": {"data": {"a": "x"}}})

    assert isinstance(made, EmailContent)
    assert len(html) > 260_000
    assert made.html == html.replace("{{ event.data.a }}", "x")
    assert refused(html + "x" * len(row)) == [f"The text has {len(html) + len(row):,} characters; 262,144 are allowed."]
