"""Shops' real templates work in each channel, and no value does harm where it is inserted."""

import json
import re
from typing import Any

import pytest

from libs.errors import Invalid
from libs.rendering import EmailContent, PushContent, RenderFailed, SmsContent, check_template, compile_template

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


def test_an_order_confirmation_is_valid_and_renders_correctly() -> None:
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
        ("<a {% if event.data.link %}href='{{ event.data.link }}'{% endif %}>Order</a>",
         "Order (https://shop.example/orders/1?key=a&x=1)\n"),
        ("<a href='{{ event.data.link }}'>{{ event.data.link }}</a>", "https://shop.example/orders/1?key=a&x=1\n"),
        ('<td style="font-size:0px;max-height:0.5em">shown</td>', "shown\n"),
        ("<P>A<BR>B</P><UL><LI>1<LI>2</UL>", "A\nB\n\n- 1\n- 2\n"),
        ("{% capture x %}\n <b>a</b> {% endcapture %}{{ x }}b", "a b\n"),
    ],
)  # fmt: skip
def test_the_text_part_says_what_a_reader_sees(html: str, reads: str) -> None:
    made = compile_template("email", "en", {"subject": "s", "html": html}).render(VARIABLES)
    assert isinstance(made, EmailContent)
    assert str(made.text) == reads


@pytest.mark.parametrize(
    ("source", "html", "words"),
    [
        ("{{ c | url_encode }}", "Tom+%26+%3CJo%3E", "Tom+%26+%3CJo%3E"),
        ("{{ c | escape }}|{{ c | upcase }}|{{ c | squish }}",
         "Tom &amp; &lt;Jo&gt;|TOM &amp; &lt;JO&gt;|Tom &amp; &lt;Jo&gt;", "Tom & <Jo>|TOM & <JO>|Tom & <Jo>"),
        ("{% if c == event.data.who and c contains '&' %}{{ c.size }} {{ c | size }}{% endif %}", "10 10", "10 10"),
        ("{{ c | split: ' ' }}|{{ c | truncate: 5, '' }}|{{ c | json }}",
         "Tom&amp;&lt;Jo&gt;|Tom &amp;|&#34;Tom \\u0026 \\u003cJo\\u003e&#34;",
         'Tom&<Jo>|Tom &|"Tom \\u0026 \\u003cJo\\u003e"'),
        ("{% capture d %}it's {{ c }}{% endcapture %}{{ d | escape }}|{{ d }}",
         "it&#39;s Tom &amp; &lt;Jo&gt;|it's Tom &amp; &lt;Jo&gt;", "it's Tom & <Jo>|it's Tom & <Jo>"),
        ("{% capture d %}<b> {{ c }}</b>{% endcapture %}{{ d | squish }}",
         "<b> Tom &amp; &lt;Jo&gt;</b>", "Tom & <Jo>"),
    ],
)  # fmt: skip
def test_a_captured_text_is_a_text_to_filters_and_conditions(source: str, html: str, words: str) -> None:
    parts = {"subject": "s", "html": "<p>{% capture c %}{{ event.data.who }}{% endcapture %}" + source + "</p>"}

    made = compile_template("email", "en", parts).render({"event": {"data": {"who": "Tom & <Jo>"}}})

    assert isinstance(made, EmailContent)
    assert (str(made.html), str(made.text)) == (f"<p>{html}</p>", f"{words}\n")


@pytest.mark.parametrize(
    ("source", "html", "words"),
    [
        ("{{ event.data.at | replace: ', ', '<br>' }}", "A &amp; B<br>&lt;i&gt;<br>a", "A & B\n<i>\na"),
        ("{{ event.data.at | replace_first: ', ', '<br>' }}", "A &amp; B<br>&lt;i&gt;, a", "A & B\n<i>, a"),
        ("{{ event.data.at | replace_last: ', ', '<br>' }}", "A &amp; B, &lt;i&gt;<br>a", "A & B, <i>\na"),
        ("{{ event.data.at | replace: 'a', '&middot;' }}", "A &amp; B, &lt;i&gt;, &middot;", "A & B, <i>, ·"),
        ("{{ event.data.at | replace: '<i>', 'x' }}", "A &amp; B, x, a", "A & B, x, a"),
        ("{{ event.data.at | replace: 'a', event.data.at }}",
         "A &amp; B, &lt;i&gt;, A &amp; B, &lt;i&gt;, a", "A & B, <i>, A & B, <i>, a"),
    ],
)  # fmt: skip
def test_markup_that_replaces_something_in_a_value_is_markup(source: str, html: str, words: str) -> None:
    template = compile_template("email", "en", {"subject": "s", "html": f"<p>{source}</p>"})

    made = template.render({"event": {"data": {"at": "A & B, <i>, a"}}})

    assert isinstance(made, EmailContent)
    assert (str(made.html), str(made.text)) == (f"<p>{html}</p>", f"{words}\n")


def test_a_captured_text_is_correct_in_structured_data() -> None:
    source = """{% capture c %}it's {{ event.data.who }}{% endcapture %}
    <script type="application/ld+json">{"a": "{{ c }}", "b": {{ c | json }}}</script>"""

    made = compile_template("email", "en", {"subject": "s", "html": source}).render({"event": {"data": {"who": "A&B"}}})

    assert isinstance(made, EmailContent)
    assert json.loads(re.findall(r"json.>(.*?)</script>", str(made.html))[0]) == {"a": "it's A&B", "b": "it's A&B"}


@pytest.mark.parametrize(
    "html",
    [
        "<a {% if event.data.link %}href='{{ event.data.link }}'{% endif %}>a</a>",
        "<a {% if event.data.link %}title{% else %}href{% endif %}='{{ event.data.link }}'>a</a>",
    ],
)
def test_a_conditional_link_is_checked_like_any_other(html: str) -> None:
    template = compile_template("email", "en", {"subject": "s", "html": html})

    assert template.render({"event": {"data": {"link": "https://shop.example"}}})
    with pytest.raises(RenderFailed, match="scheme 'javascript'"):
        template.render({"event": {"data": {"link": "javascript:alert(1)"}}})
    with pytest.raises(Invalid, match="runs as a script"):
        compile_template("email", "en", {"subject": "s", "html": html.replace("href", "onclick")})


def test_what_becomes_a_header_is_one_line() -> None:
    words = {"event": {"data": {"a": "x\r\nBcc: y" * 20, "b": "x\r\nBcc: y"}}}
    source = dict.fromkeys(("subject", "preheader", "from_name"), "{{ event.data.b }}")
    mail = compile_template("email", "en", {**source, "html": "<p>x</p>"}).render(words)
    push = compile_template("push", "en", {"title": "t", "body": "b", "collapse_key": "{{ event.data.a }}"}).render(
        words
    )

    assert isinstance(mail, EmailContent)
    assert isinstance(push, PushContent)
    assert (mail.subject, mail.preheader, mail.from_name) == ("x Bcc: y",) * 3
    assert push.collapse_key == ("x Bcc: y" * 20)[:64]


def test_a_pushs_image_is_on_the_web() -> None:
    template = compile_template("push", "en", {"title": "t", "body": "b", "image": "{{ event.data.image }}"})

    assert template.render({"event": {"data": {"image": "https://x.example/a.png"}}})
    with pytest.raises(RenderFailed, match="must be http or https"):
        template.render({"event": {"data": {"image": "shop://a.png"}}})


def test_a_preheader_stands_in_the_body_that_readers_see() -> None:
    html = "<!--[if mso]><body><![endif]--><body {% if event.data.n > 1 %}class='a'{% endif %}><p>x</p>"
    parts = {"subject": "s", "preheader": "Order {{ event.data.n }}", "html": html}

    made = compile_template("email", "en", parts).render({"event": {"data": {"n": 2}}})

    assert isinstance(made, EmailContent)
    assert re.match(r"<!--\[if mso\]><body><!\[endif\]--><body class='a'><div style=[^>]*>Order 2", str(made.html))


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
def test_embedded_data_urls_are_limited_to_plain_images(html: str) -> None:
    with pytest.raises(Invalid):
        compile_template("email", "en", {"subject": "s", "html": html})


@pytest.mark.parametrize("value", ["B-1", "7", 'a "quoted"', "</script>", None, ["a", {"b": None}]])
def test_a_value_without_quotes_in_the_json_ld_data_is_json(value: Any) -> None:
    html = '<script type="application/ld+json">{"a": {{ event.data.x }}, "b": [{{ event.data.x }}]}</script>'
    made = compile_template("email", "en", {"subject": "s", "html": html}).render({"event": {"data": {"x": value}}})
    assert isinstance(made, EmailContent)

    inside = str(made.html).removeprefix('<script type="application/ld+json">').removesuffix("</script>")
    expected = 7 if value == "7" else value
    assert json.loads(inside) == {"a": expected, "b": [expected]}


@pytest.mark.parametrize("value", ['"</script><b>', "a\u2028b", "\\", '"', "<!--", "]]>&amp;"])
def test_no_value_escapes_the_json_ld_data(value: str) -> None:
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
def test_no_other_script_type_is_allowed(opening: str) -> None:
    with pytest.raises(Invalid):
        compile_template("email", "en", {"subject": "s", "html": f"{opening}{{{{ event.data.x }}}}</script>"})


@pytest.mark.parametrize("locale", ["de-AT", "fr", "en", "nb", "cs"])
def test_formatted_money_and_times_stay_in_gsm_7(locale: str) -> None:
    source = (
        '{{ event.data.total | money: "EUR" }}\u200b {{ 12345.6 | number }} {{ event.time | date: "datetime_short" }}'
    )
    made = compile_template("sms", locale, {"text": source}).render(VARIABLES)
    assert isinstance(made, SmsContent)

    assert (made.encoding, made.segments) == ("gsm-7", 1), ascii(made.text)
    assert " " in made.text


def test_a_tab_does_not_double_the_price_of_an_sms() -> None:
    made = compile_template("sms", "en", {"text": "Order:\t{{ event.data.name }}"}).render(VARIABLES)

    assert made == SmsContent("Order: #9999", 1, "gsm-7")
