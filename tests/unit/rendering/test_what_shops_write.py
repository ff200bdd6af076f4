"""Liquid as shops' templates and editors contain it: it works, or the error says why not."""

import json
from decimal import Decimal
from typing import Any

import pytest

from libs.errors import Invalid
from libs.rendering import WebhookContent, check_template, compile_template
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import RenderFailed
from libs.rendering.text import Text, Wanted

EVENT: dict[str, Any] = {"id": "1", "type": "t", "source": "/s", "subject": "#1", "time": "2026-03-01T13:30:00Z"}

DATA: dict[str, Any] = {
    "price": "19.90", "count": 3, "word": "many", "at": 1_772_371_800_000, "list": [[1, 2], [3]],
    "exact": Decimal("19.90"), "control": "a\0b", "markup": "<b>",
    "objects": [{"sku": "a", "name": "x"}, {"sku": "a", "name": "z"}, {"name": "y"}, {"sku": "a", "name": "x"}],
    "letters": ["a", "b", "c"], "two": "2", "nothing": None,
}  # fmt: skip


def render(source: str, kind: str = "text") -> str:
    text = Text(source, Wanted(ChannelEnvironment(kind, "en", {"event.data.gone"}), "/part", max_source=100_000))
    return text.render({"event": EVENT | {"data": DATA}, "recipient": {"zone": "UTC"}, "links": {}})


@pytest.mark.parametrize(
    ("bounds", "reads"),
    [
        ("limit: 2", "ab"),
        ("limit: event.data.two offset: 1", "bc"),
        ("limit: 0", "none"),
        ("limit: -1", "none"),
        ("limit: event.data.nothing", "abc"),
        ("limit: event.data.gone", "abc"),
        ("limit: 1 offset: event.data.nothing", "a"),
        ("offset: -1", "abc"),
        ("offset: 7", "none"),
    ],
)
def test_a_loop_respects_its_bounds(bounds: str, reads: str) -> None:
    assert render(f"{{% for i in event.data.letters {bounds} %}}{{{{ i }}}}{{% else %}}none{{% endfor %}}") == reads


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
        ("{{ '2026-03-03T09:30:00.123456Z' | date: '%3N %6N %L %9N %4Y %3d %_3d %06M %5e|%10A' }}",
         "123 123456 123 123456000 2026 003   3 000030     3|   Tuesday"),
        ("{{ 'a,b,,c,,' | split: ',' | size }}{{ ',,' | split: ',' | size }}{{ 'a b ' | split: ' ' | join: '-' }}",
         "40a-b"),
        ("{{ 'Hello' | truncate: 5 }} {{ 'Hello' | truncate: 4 }} {{ 'Hello' | truncate: 2 }} "
         "{{ 'Hello' | truncate: 3, '' }} {{ event.data.count | truncate: '9' }}", "Hello H... ... Hel 3"),
        ("{{ '<p>a</p><SCRIPT>x</script><!-- c --><style type=x>y</style>b<script>' | strip_html }}", "ab"),
        ("{{ '<b>Tom &amp; Jerry</b>&nbsp;&lt;3' | strip_html }}", "Tom & Jerry\u00a0<3"),
        ("{% if event.data.count contains 3 %}{% else %}no{% endif %}{% if event.data.word contains 'an' %}1{% endif %}"
         "{% if event.data.letters contains 'c' %}2{% endif %}"
         "{% if event.data.gone contains 'c' %}{% else %}3{% endif %}{% if event.data.price contains 9.9 %}4{% endif %}"
         "{% if event.data.nothing contains 'c' %}5{% endif %}",
         "no1234"),
        ("{{ event.data.list | uniq | join: ',' }} {{ '1,1,2' | split: ',' | uniq | join }} "
         "{{ event.data.objects | uniq | size }} {{ event.data.objects | uniq: 'sku' | map: 'name' | join }}",
         "1,2,3 1 2 3 x y"),
    ],
)  # fmt: skip
def test_liquid_from_other_platforms_works(source: str, reads: str) -> None:
    assert render(source) == reads


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ event.data.lost | upcase | default: 'x' }}", "x"),
        ("{{ event.data.lost.a.b | strip | truncate: 3 | default: event.data.word }}", "many"),
        ("{{ event.data.word | upcase | default: 'x' }}{{ event.data.word | default: 'x' | upcase }}", "MANYMANY"),
        ("{% for i in event.data.lost %}{{ i.a }}{% else %}none{% endfor %}", "none"),
        ("{% for i in event.data.list %}{{ i[0] }}{% else %}none{% endfor %}", "13"),
        (
            "{{ event.data.lost | money: 'EUR' | default: 'free' }}{{ event.data.lost | number: 2 | default: '-' }}",
            "free-",
        ),
    ],
)
def test_a_missing_value_may_have_a_default(source: str, reads: str) -> None:
    assert render(source) == reads
    assert render(f"{{% if true %}}{source}{{% endif %}}") == reads  # and when Liquid itself renders it


@pytest.mark.parametrize(
    "source",
    [
        "{{ event.data.lost | upcase }}",
        "{% for i in event.data.lost %}{{ i.a }}{% endfor %}",
        "{{ event.data.lost | money: 'EUR' }}",
        "{{ event.data.lost | number: 2 }}",
        "{{ event.data.lost | times: 2 | default: 1 }}",
        "{{ event.data.word | default: 'x' | append: event.data.lost }}",
    ],
)
def test_a_missing_value_without_a_default_fails(source: str) -> None:
    with pytest.raises(RenderFailed, match=r"event\.data\.lost is missing"):
        render(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a\n{{ [event.data.word] }}", "Line 2: write the variable's name here"),
        ("{% if event.data.word %}\n{% break %}{% endif %}", "Line 2: {% break %} is outside a loop"),
        ("{% for i in (1..2) %}{% endfor %}{% continue %}", "Line 1: {% continue %} is outside a loop"),
        ("{{ event.data.price | money_with_currency }}", "'money_with_currency': it does not exist; write money"),
        ("{{ 'x.png' | asset_url }}", "'asset_url': it does not exist; write the URL"),
        ("{{ event.data.word {% if true %}{% endif %} }}", "{{ in line 1 is not closed"),
        ("{% liquid\n" + "echo 'x' " * 300 + "\n%}", "more than 2000 characters"),
        ("{% liquid\n" + "echo 'x'\n" * 4_001 + "%}", "more than 4000 outputs and tags"),
        ("{{ event.data.price | money: “EUR” }}", "unexpected '“'; write straight quotes"),
        ("{% if event.data.count &gt; 1 %}{% endif %}", "unexpected '&'; an editor may have written &gt; for >"),
        ("{{ event.data.\u200bword }}", "it may be invisible"),
        ("{{{event.data.word}}}", "unexpected '{'; write two braces"),
        ("{{#if event.data.word}}", "unexpected '#'; write {% if"),
        ("{% if event.data.count = 3 %}{% endif %}", "found '='; write =="),
        ("{{ event.data.list.0 }}", "found a number; write [0]"),
        (
            "{% if event.data.count %}\n{% else if event.data.word %}{% endif %}",
            "Line 2: there is no tag 'else if'; write",
        ),
        ("{% liquid\nif event.data.count\nelse if event.data.word\nendif %}", "there is no tag 'else if'; write elsif"),
        ("{{ event.data.list.0.name }}", "found a number; write [0]"),
        ("Hi {{${first_name} | default: 'there'}}", "unexpected '$'; write recipient.first_name"),
        ("{% if event.data.word and not event.data.gone %}x{% endif %}", "write {% unless"),
        ("{% if 'a' in event.data.letters %}x{% endif %}", "write list contains value"),
        ("{% unsubscribe_url %}", "no tag 'unsubscribe_url': write {{ links.unsubscribe }}"),
        ("{% for i in event.data.list %}{% empty %}none{% endfor %}", "no tag 'empty': write else"),
        ("{{ event.data.price | floatformat: 2 }}", "'floatformat': it does not exist; write number: 2"),
        ("{{ '2026-02-30' | date: '%F' }}", "is not a time"),
        ("{{ 'Tue, 30 Feb 2026 09:30:00 GMT' | date: '%F' }}", "is not a time"),
        ("{{ '03/04/2026' | date: '%F' }}", "is not a time"),
        ("{{ 99999999999999999999 | date: '%F' }}", "is not a time"),
    ],
)
def test_an_impossible_template_is_reported_when_published(source: str, says: str) -> None:
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
def test_captured_or_cycled_values_in_json_are_json(source: str, gives: Any, value: str) -> None:
    made = compile_template("webhook", "en", {"json": source}).render({"event": EVENT | {"data": {"v": value}}})
    assert isinstance(made, WebhookContent)

    assert json.loads(made.body) == json.loads(json.dumps(gives).replace("{v}", json.dumps(value)[1:-1]))


def test_json_is_not_encoded_twice() -> None:
    with pytest.raises(RenderFailed, match="already JSON"):
        render('{% capture a %}{"b": 1}{% endcapture %}{{ a | json }}', "json")
    assert render("{{ (1..3) | json }}{{ empty | json }}") == '[1,2,3]""'


def test_a_cycle_formats_its_values_like_any_other() -> None:
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
    with pytest.raises(RenderFailed, match=r"is not a number\."):
        render("{{ event.data.word | slice: event.data.list }}")


def test_publishing_reports_everything_that_is_wrong_at_once_in_the_order_of_lines() -> None:
    html = """<p>{{ event.data.a | }}</p>
{% section 'header' %}
{% if event.data.b = 1 %}x{% endif %}
{% unsubscribe 'Click' %}
{{ event.data.c d }}"""
    sentences = [problem.detail for problem in check_template("email", {"en": {"subject": "s", "html": html}})]

    assert sentences == [
        "Line 1: expected a name, found nothing.",
        "Line 2: there is no tag 'section': it belongs to a shop's theme; remove it.",
        "Line 3: expected end of expression, found '='; write ==.",
        "Line 4: there is no tag 'unsubscribe': write {{ links.unsubscribe }}.",
        'Line 5: expected end of expression, found a name; write event.data["first name"] for a name with blanks.',
    ]


def test_a_wrong_tag_hides_neither_unknown_filters_nor_unknown_variables_nor_misplaced_values() -> None:
    html = """{% include 'header' %}
<p>{{ customer.first_name }} {{ order.total | currency }}</p>
<a {{ event.data.c }}>x</a>
<iframe src="https://x.example"></iframe>
{% catalog items id=1 %}{{ item.name }}{% endcatalog %}"""
    sentences = [problem.detail for problem in check_template("email", {"en": {"subject": "s", "html": html}})]

    said = [
        "Line 1: there is no tag 'include': a template cannot",
        "The variable 'customer' is not known; use event, recipient or links, perhaps recipient.first_name. (line 2)",
        "The variable 'order' is not known; use event, recipient or links, perhaps event.data.order. (line 2)",
        "Line 2: the filter 'currency': it does not exist; write money",
        "Line 3: {{ event.data.c }} is inside a tag",
        "Line 4: <iframe> is not allowed",
        "Line 5: there is no tag 'catalog': put the value into the event.",
        "The variable 'item' is not known",
    ]
    assert len(sentences) == len(said), sentences
    for expected in said:
        assert any(sentence.startswith(expected) for sentence in sentences), (expected, sentences)


def test_a_variable_in_braces_within_a_tag_is_named() -> None:
    html = "{% if {{custom_attribute.vip}} == 'a' %}x{% endif %}\n{% assign y = {{event.data.z}} %}"
    sentences = [problem.detail for problem in check_template("email", {"en": {"subject": "s", "html": html}})]

    said = "write the variable in {% … %} without braces, as in {% if event.data.total > 5 %}."
    assert sentences == [f"Line 1: {said}", f"Line 2: {said}"]


@pytest.mark.parametrize(
    ("html", "line"),
    [("{{ event.data.a }}\n{% if true %}\n<a href='javascript:x'>x</a>{% endif %}", 3), ("a\n\n<object>", 3)],
)
def test_refused_markup_is_reported_with_its_own_line(html: str, line: int) -> None:
    problems = check_template("email", {"en": {"subject": "s", "html": html}})

    assert problems[0].detail.startswith(f"Line {line}: ")
