"""Templates as shops have them: what they use works in each channel, and no value does harm where it lands."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from libs.errors import Invalid
from libs.rendering import EmailContent, SmsContent, WebhookContent, check_template, compile_template
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import RenderFailed
from libs.rendering.text import Text, Wanted

ORDER = {
    "name": "#9999",
    "total": "388.00",
    "currency": "EUR",
    "note": None,
    "link": "https://shop.example/orders/1?key=a&x=1",
    "customer": {"last_name": 'Smith & "<Co>"'},
    "items": [
        {
            "title": "iPod </script> Nano",
            "price": "199.00",
            "quantity": 1,
            "extra": [{"name": "Gravur", "value": "Ö<3"}],
        },
        {"title": "אייפוד 🎧", "price": "99.50", "quantity": 2, "extra": []},
    ],
}
EVENT = {"id": "1", "type": "t", "source": "/s", "subject": "#9999", "time": "2026-03-01T13:30:00Z", "data": ORDER}
RECIPIENT = {"first_name": "Ada", "zone": "Europe/Vienna", "attributes": {}}
VARIABLES: dict[str, Any] = {"event": EVENT, "recipient": RECIPIENT, "links": {"unsubscribe": "https://x.example/u"}}

CONFIRMATION = """
{% capture email_title %}
  {% if event.data.note %}Thanks!{% else %}Thank you for your purchase!{% endif %}
{% endcapture %}
{% liquid
  assign count = 0
  for item in event.data.items
    assign count = count | plus: item.quantity
  endfor
%}
<!DOCTYPE html>
<html dir="rtl" xmlns:v="urn:schemas-microsoft-com:vml"><head><title>{{ email_title }}</title>
<style>.x > a { color: {{ event.data.color | default: "#000" }}; }</style></head><body>
<script type="application/ld+json">
{"@context": "http://schema.org", "@type": "Order", "orderNumber": {{ event.data.name | json }},
 "customer": "{{ event.data.customer.last_name }}", "acceptedOffer": [
 {%- for item in event.data.items %}{"name": "{{ item.title }}", "price": {{ item.price | json }}}
 {%- unless forloop.last %}, {% endunless %}{% endfor -%} ]}
</script>
<div style="display:none;max-height:0">Order {{ event.data.name }}&nbsp;&zwnj;</div>
<h2>{{ email_title }}</h2><p>{{ count }} items</p>
{% for item in event.data.items %}
<div style="{% if forloop.first %}border:0{% else %}border:1px{% endif %}">{{ item.title }}&nbsp;&times;&nbsp;
{{- item.quantity }}
{% for each in item.extra %}{% if each.value != blank %}<dd>{{ each.name }}: {{ each.value }}</dd>{% endif %}
{% endfor %}
{% if item.price > 100 %}insured{% endif %}</div>
{% endfor %}
<!--[if mso]><v:roundrect href="{{ event.data.link }}"><center>View order</center></v:roundrect><![endif]-->
<!--[if !mso]><!--><a href="{{ event.data.link }}">View order</a><!--<![endif]-->
{% comment %}{{ broken {% endcomment %}
</body></html>"""


def test_an_order_confirmation_is_checked_and_reads_as_it_should() -> None:
    parts = {"subject": "Order {{ event.data.name }}", "html": CONFIRMATION}
    assert check_template("email", {"en": parts}) == []
    made = compile_template("email", "en", parts, optional=frozenset({"event.data.color"})).render(VARIABLES)
    assert isinstance(made, EmailContent)
    html, words = str(made.html), str(made.text)

    linked = json.loads(re.findall(r'ld\+json">(.*?)</script>', html, re.DOTALL)[0])
    assert linked["orderNumber"] == "#9999"
    assert linked["customer"] == ORDER["customer"]["last_name"]  # type: ignore[index]
    assert [each["name"] for each in linked["acceptedOffer"]] == ["iPod </script> Nano", "אייפוד 🎧"]
    assert "iPod &lt;/script&gt; Nano&nbsp;&times;&nbsp;1" in html
    assert html.count('href="https://shop.example/orders/1?key=a&amp;x=1"') == 2
    assert words.startswith("Thank you for your purchase!")
    assert words.count("View order") == 1
    assert words.count("insured") == 1
    for said in ("3 items", "Gravur: Ö<3", "אייפוד 🎧\u00a0×2", "View order (https://shop.example/orders/1?key=a&x=1)"):
        assert said in words
    for unsaid in ("schema.org", "{{", "&times;", "display"):
        assert unsaid not in words


@pytest.mark.parametrize(
    ("html", "reads"),
    [
        ('<img src="data:image/png;base64,iVBO\nRw0=" alt="Logo">Shop', "Logo Shop\n"),
        ('<a href="https://x.example"><img src="cid:logo" alt="Logo"></a>', "Logo (https://x.example)\n"),
        ('<div style="max-height:0px;overflow:hidden">pre</div><p style="visibility: hidden">x</p>a', "a\n"),
        ('<td style="font-size:0px;max-height:0.5em">shown</td>', "shown\n"),
        ("<P>A<BR>B</P><UL><LI>1<LI>2</UL>", "A\nB\n\n- 1\n- 2\n"),
        ("{% capture x %}\n <b>a</b> {% endcapture %}{{ x }}b", "a b\n"),
    ],
)
def test_the_text_part_says_what_a_reader_sees(html: str, reads: str) -> None:
    made = compile_template("email", "en", {"subject": "s", "html": html}).render(VARIABLES)
    assert isinstance(made, EmailContent)
    assert str(made.text) == reads


@pytest.mark.parametrize(
    "html",
    [
        '<a href="data:image/png;base64,AAAA">',
        '<img src="data:image/svg+xml;base64,AAAA">',
        '<img src="data:text/html;base64,AAAA">',
        '<img src="data:image/png,{{ event.data.name }}">',
        '<img src="data:image/png;base64,{{ event.data.name }}">',
    ],
)
def test_only_plain_pictures_stand_in_the_mail_itself(html: str) -> None:
    with pytest.raises(Invalid):
        compile_template("email", "en", {"subject": "s", "html": html})


@pytest.mark.parametrize("value", ['"</script><b>', "a\u2028b", "\\", '"', "<!--", "]]>&amp;"])
def test_no_value_leaves_the_data_for_mail_programs(value: str) -> None:
    html = '<script type="application/ld+json">{"a": "{{ event.data.x }}", "b": {{ event.data.x | json }}}</script>'
    template = compile_template("email", "en", {"subject": "s", "html": html})
    made = template.render({"event": EVENT | {"data": {"x": value}}, "recipient": RECIPIENT})
    assert isinstance(made, EmailContent)

    inside = str(made.html).removeprefix('<script type="application/ld+json">').removesuffix("</script>")
    assert json.loads(inside) == {"a": value, "b": value}
    assert not re.search("[<>&]", inside)


@pytest.mark.parametrize(
    "opening",
    [
        '<script type="text/javascript">',
        "<script>",
        '<script type="application/ld+json" type="text/javascript">',
        '<script type="{{ event.data.x }}">',
        '<script type="application/ld+json" src="https://x.example/">{% echo event.data.x %}',
    ],
)
def test_nothing_else_is_data_for_mail_programs(opening: str) -> None:
    with pytest.raises(Invalid):
        compile_template("email", "en", {"subject": "s", "html": f"{opening}{{{{ event.data.x }}}}</script>"})


@pytest.mark.parametrize("locale", ["de-AT", "fr", "en", "nb", "cs"])
def test_money_and_times_cost_no_more_in_an_sms(locale: str) -> None:
    source = (
        '{{ event.data.total | money: "EUR" }}\u200b {{ 12345.6 | number }} {{ event.time | date: "datetime_short" }}'
    )
    made = compile_template("sms", locale, {"text": source}).render(VARIABLES)
    assert isinstance(made, SmsContent)

    assert (made.encoding, made.segments) == ("gsm-7", 1), ascii(made.text)
    assert " " in made.text


DATA: dict[str, Any] = {
    "price": "19.90", "count": 3, "word": "many", "at": 1_772_371_800_000, "list": [[1, 2], [3]],
    "exact": Decimal("19.90"), "control": "a\0b", "markup": "<b>",
}  # fmt: skip


def render(source: str, kind: str = "text") -> str:
    text = Text(source, Wanted(ChannelEnvironment(kind, "en", {"event.data.gone"}), "/part", max_source=100_000))
    return text.render({"event": EVENT | {"data": DATA}, "recipient": {"zone": "UTC"}, "links": {}})


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{% if event.data.price > 10 %}>{% endif %}{% if event.data.price <= 19.9 %}<={% endif %}", "><="),
        ("{% if 20 > event.data.price %}>{% endif %}{% if event.data.price >= event.data.exact %}>={% endif %}", ">>="),
        ("{% if event.data.price < '9' %}as texts{% endif %}{% if event.data.gone > 1 %}{% else %}no{% endif %}",
         "as textsno"),
        ("{% if event.data.price == 19.9 %}{% else %}as written{% endif %}", "as written"),
        ("{% capture 'a' %}1{% endcapture %}{% capture \"b\" %}2{% endcapture %}{{ a }}{{ b }}", "12"),
        ("{% for i in event.data.list %}\n{% capture\n'c' %}{{ i }}{% endcapture %}{% endfor %}{{ c }}", "3"),
        ("{{ (1..4) | join: '-' }} {{ event.data.list | join: '-' }}", "1-2-3-4 1-2-3"),
        ("[{{ event.data.gone | strip_html }}]{{ event.data.count | strip_html }}", "[]3"),
        ("{% assign x = '{{' %}{{ x }}{{ \"{% y %}\" }}", "{{{% y %}"),
        ("{% for i in (1..3) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
        ("{% liquid\n" + "assign x = event.data.word | append: 'abcdefghijklmnopqrstuvwxyz'\n" * 60 + "echo x %}",
         "manyabcdefghijklmnopqrstuvwxyz"),
        ("{{ event.data.at | date: '%F %T' }} {{ '1772371800' | date: '%F' }}", "2026-03-01 13:30:00 2026-03-01"),
        ("{{ 'Tue, 03 Mar 2026 09:30:00 GMT' | date: '%F %T' }}", "2026-03-03 09:30:00"),
        ("{{ 'March 3, 2026' | date: '%F' }} {{ '3 Mar 2026' | date: '%F' }}", "2026-03-03 2026-03-03"),
        ("{{ '2026/03/03 09:30' | date: '%F %R' }}", "2026-03-03 09:30"),
        ("{{ '2026-03-03 09:30:00 UTC' | date: '%R' }}", "09:30"),
        ("{{ '2026-03-03T09:30:00.123456789Z' | date: '%L' }} {{ '2026-03-03 09:30:00 +0100' | date: '%R' }}",
         "123 08:30"),
    ],
)  # fmt: skip
def test_what_shops_write_elsewhere_works(source: str, reads: str) -> None:
    assert render(source) == reads


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ event.data.lost | upcase | default: 'x' }}", "x"),
        ("{{ event.data.lost.a.b | strip | truncate: 3 | default: event.data.word }}", "many"),
        ("{{ event.data.word | upcase | default: 'x' }}{{ event.data.word | default: 'x' | upcase }}", "MANYMANY"),
        ("{% for i in event.data.lost %}{{ i.a }}{% else %}none{% endfor %}", "none"),
        ("{% for i in event.data.list %}{{ i[0] }}{% else %}none{% endfor %}", "13"),
    ],
)
def test_a_text_may_say_what_stands_for_what_is_missing(source: str, reads: str) -> None:
    assert render(source) == reads
    assert render(f"{{% if true %}}{source}{{% endif %}}") == reads  # and so where Liquid itself renders it


@pytest.mark.parametrize(
    "source",
    [
        "{{ event.data.lost | upcase }}",
        "{% for i in event.data.lost %}{{ i.a }}{% endfor %}",
        "{{ event.data.lost | money: 'EUR' | default: '-' }}",
        "{{ event.data.lost | times: 2 | default: 1 }}",
        "{{ event.data.word | default: 'x' | append: event.data.lost }}",
    ],
)
def test_what_is_missing_fails_where_nothing_stands_for_it(source: str) -> None:
    with pytest.raises(RenderFailed, match=r"event\.data\.lost is missing"):
        render(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a\n{{ [event.data.word] }}", "Line 2: write the variable's name here"),
        ("{% if event.data.word %}\n{% break %}{% endif %}", "Line 2: {% break %} stands outside of a loop"),
        ("{% for i in (1..2) %}{% endfor %}{% continue %}", "Line 1: {% continue %} stands outside of a loop"),
        ("{{ event.data.price | money_with_currency }}", "'money_with_currency': there is none; write money"),
        ("{{ 'x.png' | asset_url }}", "'asset_url': there is none; write the address"),
        ("{{ event.data.word {% if true %}{% endif %} }}", "{{ in line 1 is not closed"),
        ("{% liquid\n" + "echo 'x' " * 300 + "\n%}", "more than 2000 characters"),
        ("{% liquid\n" + "echo 'x'\n" * 4_001 + "%}", "more than 4000 outputs and tags"),
        ("{{ '2026-02-30' | date: '%F' }}", "is no time"),
        ("{{ 'Tue, 30 Feb 2026 09:30:00 GMT' | date: '%F' }}", "is no time"),
        ("{{ '03/04/2026' | date: '%F' }}", "is no time"),
        ("{{ 99999999999999999999 | date: '%F' }}", "is no time"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_published(source: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        render(source)

    assert says in refused.value.errors[0].detail


@pytest.mark.parametrize("value", ["Ada", 'O"Neil\\n', "a\nb\u2028", "</script>", "{{ x }}"])
@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ('{% capture a %}Dear {{ event.data.v }}{% endcapture %}{"a": "{{ a }}"}', {"a": "Dear {v}"}),
        ('{% capture a %}Dear {{ event.data.v }}{% endcapture %}{"a": {{ a | json }}}', {"a": "Dear {v}"}),
        ('{% capture a %}{{ event.data.v }}{% endcapture %}{"a": "{{ a | append: "!" }}"}', {"a": "{v}!"}),
        ('{% capture a %}{"b": "{{ event.data.v }}"}{% endcapture %}[{{ a }}, {{ a }}]', [{"b": "{v}"}, {"b": "{v}"}]),
        ('{% capture a %}"{{ event.data.v }}"{% endcapture %}{% capture b %}[{{ a }}]{% endcapture %}{{ b }}', ["{v}"]),
        ('["{% cycle event.data.v, 1 %}", {% cycle 2, 1 %}]', ["{v}", 2]),
    ],
)
def test_what_is_captured_or_cycled_in_json_is_json(source: str, gives: Any, value: str) -> None:
    made = compile_template("webhook", "en", {"json": source}).render({"event": EVENT | {"data": {"v": value}}})
    assert isinstance(made, WebhookContent)

    assert json.loads(made.body) == json.loads(json.dumps(gives).replace("{v}", json.dumps(value)[1:-1]))


def test_json_is_not_made_json_again() -> None:
    with pytest.raises(RenderFailed, match="JSON already"):
        render('{% capture a %}{"b": 1}{% endcapture %}{{ a | json }}', "json")
    assert render("{{ (1..3) | json }}{{ empty | json }}") == '[1,2,3]""'


def test_a_cycle_puts_its_values_out_like_any_other() -> None:
    source = (
        "{% for i in (1..3) %}{% cycle event.data.word, event.data.exact %} {% endfor %}{% cycle 'g': '<b>', 'x' %}"
    )
    assert render(source) == "many 19.90 many <b>"
    assert render("{% cycle event.data.control %}{% cycle event.data.markup, 1 %}", "html") == "ab&lt;b&gt;"


def test_words_are_not_compared_with_numbers() -> None:
    with pytest.raises(RenderFailed, match="not supported between a number and a text"):
        render("{% if event.data.word > 1 %}{% endif %}")
    with pytest.raises(Invalid, match=r"Line 2: a number has no fields\."):
        render("\n{{ (1..3) | where: 'sku' }}")
    with pytest.raises(RenderFailed, match=r"expected an integer start, found a list\."):
        render("{{ event.data.word | slice: event.data.list }}")
