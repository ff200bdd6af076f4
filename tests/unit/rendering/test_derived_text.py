"""Promise: the text part derived from a mail's HTML reads like a letter: a line for each row, a blank line between
paragraphs, whatever blocks, conditions and layout tables surround them."""

from typing import Any

import pytest

from libs.rendering import EmailContent, compile_template

ITEMS = [{"name": "Cup", "price": "5.00"}, {"name": "Tea", "price": "3.00"}]
DATA = {"items": ITEMS, "mail": "a@shop.example", "phone": "+43 1 234567", "note": None, "page": "https://x.example"}


def words(html: str, **data: Any) -> str:
    made = compile_template("email", "en", {"subject": "s", "html": html}).render({"event": {"data": DATA | data}})
    assert isinstance(made, EmailContent)
    return str(made.text)


@pytest.mark.parametrize(
    ("html", "reads"),
    [
        ("<table>\n <tr>\n  <td>Cup</td>\n  <td>5.00</td>\n </tr>\n <tr><td>Tea</td><td>3.00</td></tr></table>end",
         "Cup 5.00\nTea 3.00\n\nend\n"),
        ("<table>{% for i in event.data.items %}\n<tr>\n<td>{{ i.name }}</td>\n<td>{{ i.price }}</td>\n</tr>\n"
         "{% endfor %}</table>", "Cup 5.00\nTea 3.00\n"),
        ("<tr><td><p><span>Subtotal</span><br></p></td>\n<td><strong>8.00</strong></td></tr><tr><td><p>Tax</p></td>"
         "<td><p>1.00</p></td></tr>", "Subtotal 8.00\n\nTax 1.00\n"),
        ("<table><tr><td><h4>Ship to</h4>Ada<br>Vienna</td><td><h4>Bill to</h4>Bob</td></tr></table>",
         "Ship to\n\nAda\nVienna\n\nBill to\n\nBob\n"),
        ("<div>a</div><div><div>b</div></div><div>c</div>", "a\nb\nc\n"),
        ("<dl><dt>Engraving:</dt>\n<dd> Hi </dd></dl>", "Engraving:\nHi\n"),
    ],
)  # fmt: skip
def test_rows_and_blocks_are_lines(html: str, reads: str) -> None:
    assert words(html) == reads


@pytest.mark.parametrize(
    ("html", "reads"),
    [
        ("<p>a</p>\n{% if event.data.note %}\n<p>no</p>\n{% endif %}\n"
         "{% if event.data.note %}x{% endif %}\n<p>b</p>",
         "a\n\nb\n"),
        ("<p>a</p>{%- if event.data.page -%}<p>b</p>{%- endif -%}<p>c</p>", "a\n\nb\n\nc\n"),
        ("{% capture title %}\n  {% if event.data.note %}\n no\n {% else %}\n yes\n {% endif %}\n{% endcapture %}"
         "<h2>{{ title }}</h2>\n<p>x</p>", "yes\n\nx\n"),
        ("<p>a</p><table><tr><td>&nbsp;</td></tr></table><div>&#847;&zwnj;&nbsp;&#8203;</div><p>b&nbsp;&times;&nbsp;2</p>",
         "a\n\nb\xa0\xd7\xa02\n"),
        ("<div>a</div><div>&nbsp;</div><div>b&nbsp;</div><div>c</div>", "a\n\nb\nc\n"),
        ("<p>{{ event.data.note }}</p><p>x</p>", "x\n"),
        ("<div style='opacity:0;color:#fff'>preheader</div><div style='opacity:0.9'>shown</div>", "shown\n"),
    ],
)  # fmt: skip
def test_conditions_and_fillers_leave_no_gaps(html: str, reads: str) -> None:
    assert words(html) == reads


@pytest.mark.parametrize(
    ("html", "reads"),
    [
        ("<a href='mailto:{{ event.data.mail }}'>{{ event.data.mail }}</a>", "a@shop.example\n"),
        ("<a href='tel:{{ event.data.phone }}'>{{ event.data.phone }}</a>", "+43 1 234567\n"),
        ("<a href='tel:+4921317399361'>02131 7399 361</a>", "02131 7399 361\n"),
        ("<a href='tel:+4921317399361'>Call us</a>", "Call us (tel:+4921317399361)\n"),
        ("<a href='https://shop.example/'>shop.example</a>", "shop.example\n"),
        ("<a href='https://evil.example/'>shop.example</a>", "shop.example (https://evil.example/)\n"),
        ("<a href='https://x.example/?a=1&section=2&region=at&amp;copy=3'>x</a>",
         "x (https://x.example/?a=1&section=2&region=at&copy=3)\n"),
        ("<a href='{{ event.data.page }}'><table><tr><td>View order</td></tr></table></a><p>b</p>",
         "View order (https://x.example)\n\nb\n"),
        ("{% if true %}<a href='{{ event.data.note }}'>Go</a>{% endif %}", "Go\n"),
    ],
)  # fmt: skip
def test_a_link_stands_behind_its_words_unless_they_say_it(html: str, reads: str) -> None:
    assert words(html) == reads


def test_a_text_of_its_own_keeps_its_lines() -> None:
    parts = {"subject": "s", "html": "x", "text": "a\n\n  b  c\n{% if true %}d{% endif %}\n"}
    made = compile_template("email", "en", parts).render({"event": {"data": {}}})

    assert isinstance(made, EmailContent)
    assert str(made.text) == "a\n\n  b  c\nd\n"
