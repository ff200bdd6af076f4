"""Liquid as marketers write it elsewhere means the same here; what cannot work is reported when it is published."""

from decimal import Decimal
from typing import Any

import pytest

from libs.errors import Invalid
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import LimitExceeded, RenderFailed
from libs.rendering.template import compile_template
from libs.rendering.text import Text, Wanted

VARIABLES: dict[str, Any] = {
    "event": {
        "subject": "B-1",
        "time": "2026-03-01T13:30:00Z",
        "data": {
            "price": Decimal("9.95"),
            "debt": Decimal("-5.5"),
            "yes": True,
            "no": False,
            "nothing": None,
            "hollow": "",
            "spaces": "  ",
            "name": "Tom & <Jerry>",
            "items": [
                {"sku": "a", "price": Decimal("9.95"), "new": True},
                {"sku": "b", "price": 100, "new": False},
                {"sku": "c", "price": Decimal("1E+2"), "new": None},
            ],
        },
    },
    "recipient": {"first_name": "Ada", "zone": "UTC", "attributes": {}},
}


def text(source: str, kind: str = "text") -> Text:
    return Text(source, Wanted(ChannelEnvironment(kind, "en"), "/part"))


def render(source: str, kind: str = "text") -> str:
    return text(source, kind).render(VARIABLES)


@pytest.mark.parametrize("name", ["nothing", "hollow", "spaces"])
def test_an_empty_value_is_neither_less_nor_more_than_a_number(name: str) -> None:
    """WooCommerce sends "" as the sale price of a product without one."""
    value = f"event.data.{name}"
    conditions = [f"{value} > 0", f"{value} < 5", f"0 >= {value}", f"{value} <= event.data.price"]

    assert [render(f"{{% if {each} %}}yes{{% else %}}no{{% endif %}}") for each in conditions] == ["no"] * 4


@pytest.mark.parametrize("name", ["gone", "nothing", "no", "hollow", "spaces"])
def test_a_missing_value_is_blank(name: str) -> None:
    assert render(f"{{% if event.data.{name} == blank %}}a{{% endif %}}") == "a"
    assert render(f"{{% if event.data.{name} != blank %}}b{{% endif %}}") == ""
    assert render(f"{{% if blank == event.data.{name} %}}c{{% endif %}}") == "c"
    assert render(f"{{% case event.data.{name} %}}{{% when 'x', blank %}}d{{% endcase %}}") == "d"


@pytest.mark.parametrize("name", ["yes", "name", "price", "items"])
def test_a_present_value_is_not_blank(name: str) -> None:
    assert render(f"{{% if event.data.{name} == blank %}}a{{% else %}}b{{% endif %}}") == "b"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if event.data.price == 9.95 %}=={% endif %}{% if event.data.price <= 9.95 %}<={% endif %}", "==<="),
        ("{% case event.data.price %}{% when 9.95 %}case{% endcase %}", "case"),
        ("{{ event.data.items | where: 'price', 9.95 | map: 'sku' }}", "a"),
        ("{{ 1.50 }} {{ 3.0 }} {{ 9.95 | times: 3 }}", "1.5 3.0 29.85"),
        ("{{ event.data.debt | modulo: 2 }} {{ -7 | modulo: 3 }} {{ 7.5 | modulo: 2 }}", "0.5 2 1.5"),
        ("{{ 'a' | append: event.data.nothing }}{{ 'b' | append: event.data.yes }}", "abtrue"),
        ("{{ 'a,b' | replace: ',', event.data.nothing | prepend: event.data.items[2].price }}", "100ab"),
        ("{{ event.data.items | map: 'new' | join: ',' }}", "true,false,"),
        ("{{ event.data.items | map: 'gone' | join: ',' }}{{ event.data.items | map: 'gone' }}", ",,"),
        ("{{ event.data.items | map: 'price' | join: '; ' }}", "9.95; 100; 100"),
        ("{{ event.data.yes | capitalize }} {{ event.data.items[0] | upcase }}",
         'True {"SKU":"A","PRICE":9.95,"NEW":TRUE}'),
        ("{% assign x = blank %}[{{ x }}]{% if x == blank %}b{% endif %}", "[]b"),
        ("{{ event.time | date: '%l:%M %P|%r|%v|%n%t|%N|%:z' }}",
         " 1:30 pm|01:30:00 PM| 1-MAR-2026|\n\t|000000000|+00:00"),
        ("{{ event.time | date: '%c|%x|%X' }}", "Mar 1, 2026, 1:30:00\u202fPM|3/1/26|1:30:00\u202fPM"),
    ],
)  # fmt: skip
def test_values_render_as_in_shopify(source: str, expected: str) -> None:
    assert render(source) == expected


def test_stripped_html_is_not_escaped_twice() -> None:
    source = "{% capture x %}<b>{{ event.data.name }}</b>{% endcapture %}{{ x | strip_html }}"

    assert render(source, "html") == "Tom &amp; &lt;Jerry&gt;"
    assert render("{{ event.data.name | strip_html }}", "html") == "Tom &amp; "


def test_an_item_beyond_the_list_is_named_as_missing() -> None:
    with pytest.raises(RenderFailed, match=r"event\.data\.items\[7\]\.sku is missing"):
        render("{{ event.data.items[7].sku }}")
    assert render("{{ event.data.items[7].sku | default: 'none' }}") == "none"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% if event.data.no %}{{ event.subject | date: '%d.%Q' }}{% endif %}", "date directive %Q"),
        ("{% if event.data.no %}{{ event.data.name | replace }}{% endif %}", "'replace': missing a required argument"),
        ("{% if event.data.no %}{{ event.data.name | upcase: 1 }}{% endif %}", "'upcase': too many"),
        ("{% if event.data.no %}{{ event.data.price | money: code: 'EUR' }}{% endif %}", "'money': got an unexpected"),
        ("{% if x %}{% elseif y %}{% endif %}", "no tag 'elseif': write elsif"),
        ("{% render 'footer' %}", "no tag 'render': a template cannot include another"),
        ("{% connected_content https://x %}", "no tag 'connected_content': put the value"),
        ("{% tablerow i in event.data.items %}{% endtablerow %}", "no tag 'tablerow'"),
    ],
)
def test_a_template_that_fails_for_some_values_is_refused(source: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        text(source)

    assert says in refused.value.errors[0].detail
    assert refused.value.errors[0].detail.startswith("Line 1: ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a\nb {% if event.data.yes %}\nc\n", "Line 2: {% if %} is never closed; add {% endif %} where it ends."),
        ("{% if 1 %}\n{% for i in event.data.items %}{% if i %}{% endif %}\n", "Line 2: {% for %} is never closed"),
        (
            "{% if 1 %}{% raw %}{% for %}{% endraw %}\n{% endif %}\n{% case 1 %}{% when 1 %}",
            "Line 3: {% case %} is never",
        ),
        ("a\n{{ event.subject | }}", "Line 2: expected a name"),
        ("{% if event.data.yes %}\n{{ }}{% endif %}", "Line 2: expected a value"),
        ("\n{% if event.data.yes == %}x{% endif %}", "Line 2: expected a value"),
        ("{% if 1 %}\n{% elsif 2 == %}x{% endif %}", "Line 2: expected a value"),
        ("{% for i in event.data.items %}\n\n{% assign x = %}{% endfor %}", "Line 3: expected a value"),
    ],
)
def test_an_unclosed_construct_is_reported_at_its_beginning(source: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        text(source)

    assert refused.value.errors[0].detail.startswith(says)


def test_a_filter_error_names_its_line_with_and_without_tags() -> None:
    for source in (
        "a\n{{ event.data.price | money: event.data.name }}",
        "{% if 1 %}\n{{ event.data.name | plus: 1 }}{% endif %}",
    ):
        with pytest.raises(RenderFailed) as refused:
            render(source)
        assert refused.value.errors[0].detail.startswith("Line 2: ")


def mail(html: str) -> Any:
    return compile_template("email", "en", {"subject": "S", "html": html}).render(VARIABLES)


@pytest.mark.parametrize(
    ("html", "reads"),
    [
        ("<p>{{ event.data.name | escape }}</p>", "Tom & <Jerry>\n"),
        ("<p>{{ event.data.name | escape_once | upcase }}</p>", "TOM & <JERRY>\n"),
        ("<p>{{ 'a\nb' | newline_to_br }}</p>", "a\nb\n"),
        ('<p>{{ event.data.items | map: "sku" | join: "<br>" }}</p>', "a\nb\nc\n"),
        ("<p>{{ event.data.name | append: '<b>!</b>' | prepend: '&rarr; ' }}</p>", "→ Tom & <Jerry>!\n"),
        ("<p>{{ event.data.hollow | default: '<i>none</i>' }}</p>", "none\n"),
        ('<p>{{ "a<br>b" | split: "<br>" | join: "|" }}</p>', "a|b\n"),
        ("<p>{% assign x = '<b>y</b>' %}{{ x }}</p>", "y\n"),
        ("<p>{{ '| escape' }}{% raw %}{{ a | escape }}{% endraw %}</p>", "| escape{{ a | escape }}\n"),
        ('<p>{{ event.data.name | replace: "<Jerry>", "you" }}</p>', "Tom & you\n"),
    ],
)
def test_html_made_by_filters_is_absent_from_the_text_part(html: str, reads: str) -> None:
    assert mail(html).text == reads


def test_a_tablerow_is_a_table_in_html_and_lines_in_text() -> None:
    made = mail("<table>{% tablerow i in event.data.items cols: 2 limit:3 %}{{ i.sku }}{% endtablerow %}</table>")

    assert str(made.html) == (
        '<table><tr class="row1">\n<td class="col1">a</td><td class="col2">b</td></tr>\n'
        '<tr class="row2"><td class="col1">c</td></tr>\n</table>'
    )
    assert str(made.text) == "a\nb\nc\n"


def test_a_tablerow_is_bounded_like_a_loop() -> None:
    source = "{% tablerow i in (1..9999) %}{% tablerow j in (1..9999) %}x{% endtablerow %}{% endtablerow %}"

    with pytest.raises(LimitExceeded):
        text(source, "html").render(VARIABLES)


def test_a_text_part_begins_with_its_first_line() -> None:
    made = mail("<ul>{% for i in event.data.items %}<li>{{ i.sku }}</li>{% endfor %}</ul>")

    assert str(made.text).startswith("- a\n")
