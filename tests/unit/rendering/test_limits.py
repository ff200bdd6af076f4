"""Promise: every limit of a render holds at its number, no more and no less."""

import json
from typing import cast

import pytest

from libs.errors import Invalid
from libs.rendering import Content, ContentTooLarge, LimitExceeded, PushContent, RenderFailed, compile_template
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import MAX_ITEMS, MAX_LOCALS
from libs.rendering.template import PUSH_RESERVE, push_bytes
from libs.rendering.text import Text, Wanted

PIECE = "x" * 1_000


def render(source: str, kind: str = "text", **data: object) -> str:
    compiled = Text(source, Wanted(ChannelEnvironment(kind, "en"), "/part", max_source=131_072, max_output=524_288))
    return compiled.render({"event": {"data": data}, "recipient": {}})


def kept(pieces: int) -> str:
    """A template that keeps so many pieces in locals of their own."""
    return "".join(f"{{% assign a{n} = event.data.p | append: '{n}' %}}" for n in range(pieces))


def test_locals_keep_a_quarter_of_a_megabyte() -> None:
    fits = MAX_LOCALS // 1_060  # a text of thousand characters has some bytes around it

    assert render(kept(fits), p=PIECE) == ""
    with pytest.raises(LimitExceeded, match="assign and capture store more than 262144 bytes"):
        render(kept(fits + 20), p=PIECE)


def test_a_local_that_is_assigned_again_counts_once() -> None:
    source = "{% for i in (1..1000) %}{% assign a = event.data.p | append: i %}{% endfor %}{{ a | size }}"

    assert render(source, p=PIECE) == "1004"


@pytest.mark.parametrize("source", ["{{ (1..LAST) | size }}", "{% for i in (1..LAST) %}{% endfor %}ok"])
def test_a_range_has_at_most_ten_thousand_items(source: str) -> None:
    assert render(source.replace("LAST", str(MAX_ITEMS))) in {"10000", "ok"}
    with pytest.raises(LimitExceeded, match=r"the range 1\.\.10001 has more than 10000 items"):
        render("{% assign last = event.data.n | plus: 1 %}" + source.replace("LAST", "last"), n=MAX_ITEMS)


@pytest.mark.parametrize("behind", ["", "{% if true %}{% endif %}"], ids=["values alone", "Liquid"])
def test_a_part_has_at_most_its_characters_words_and_values_together(behind: str) -> None:
    source = "x" * 60 + "{{ event.data.a }}" + behind
    text = Text(source, Wanted(ChannelEnvironment("text", "en"), "/part", max_source=200, max_output=100))

    assert len(text.render({"event": {"data": {"a": "y" * 40}}})) == 100
    with pytest.raises(ContentTooLarge, match="too long for this part"):
        text.render({"event": {"data": {"a": "y" * 41}}})


@pytest.mark.parametrize("loop", ["for", "tablerow"])
def test_a_loop_counts_its_body(loop: str) -> None:
    condition = "{% if event.data.a == 1 and event.data.b == 2 %}{% endif %}"

    def source(length: int) -> str:
        return f"{{% {loop} i in (1..4000) %}}{condition * length}{{% end{loop} %}}"

    render(source(1), kind="html", a=1, b=2)
    with pytest.raises(LimitExceeded, match="too much work: its loops exceed 120,000 steps"):
        render(source(12), kind="html", a=1, b=2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ event.data.list | size }}", "size accepts at most 10000 items"),
        ("{{ event.data.p | replace: 'x', event.data.p }}", r"replace returns more than 131072 characters\."),
        ("{{ event.data.long | append: event.data.long }}", "append returns more than 131072 characters or"),
        ("{% for i in (1..400) %}{% assign a = event.data.long | upcase %}{% endfor %}", "its filters exceed"),
        ("{{ event.data.nested | join }}", "its filters exceed"),
        ("{{ event.data.nested | sum }}", "its filters exceed"),
        (
            "{% for i in (1..200) %}{% if event.data.long contains 'y' %}{% endif %}{% endfor %}",
            "its comparisons exceed",
        ),
        ("{% for i in (1..15) %}{% if event.data.items contains 1 %}{% endif %}{% endfor %}", "its comparisons exceed"),
    ],
)
def test_filters_and_comparisons_are_bounded(source: str, message: str) -> None:
    items = [0] * MAX_ITEMS
    data = {"p": PIECE, "long": "x" * 100_000, "list": [0] * (MAX_ITEMS + 1), "items": items, "nested": [items] * 13}

    with pytest.raises(LimitExceeded, match=message):
        render(source, **data)


@pytest.mark.parametrize("value", ["1" * 61, 10**60, "1e61", "0.5e-61"])
def test_a_number_has_at_most_sixty_digits(value: object) -> None:
    assert render("{{ event.data.n | plus: 0 }}", n=10**60 - 1) == "9" * 60
    with pytest.raises(RenderFailed, match=r"is not a number|more than 60 digits"):
        render("{{ event.data.n | plus: 0 }}", n=value)


def push(body: str) -> Content:
    template = compile_template("push", "en", {"title": "t", "body": "{{ event.data.body }}"})
    return template.render({"event": {"data": {"body": body}}})


@pytest.mark.parametrize("sign", ["x", "Ä", "😀", '"'])
def test_a_push_has_at_most_4096_bytes_with_what_delivery_adds(sign: str) -> None:
    each = len(json.dumps(sign, ensure_ascii=False).encode()) - 2
    fits = (4_096 - PUSH_RESERVE - len('"t"  ""  ')) // each
    rest = "x" * ((4_096 - PUSH_RESERVE - len('"t"  ""  ')) % each)

    assert push_bytes(cast(PushContent, push(sign * fits + rest))) == 4_096
    with pytest.raises(ContentTooLarge, match="The push has 4,097 bytes"):
        push(sign * fits + rest + "x")


def test_a_subject_has_at_most_998_characters() -> None:
    template = compile_template("email", "en", {"subject": "{{ event.data.s }}", "html": "x"})

    assert template.render({"event": {"data": {"s": "x" * 998}}})
    with pytest.raises(RenderFailed, match="1 to 998 characters"):
        template.render({"event": {"data": {"s": "x" * 999}}})


def test_blocks_nest_twenty_deep() -> None:
    assert render("{% if true %}" * 20 + "x" + "{% endif %}" * 20) == "x"
    with pytest.raises(Invalid, match="at most 20 tags may stand in one another"):
        render("{% if true %}" * 21 + "x" + "{% endif %}" * 21)


def test_a_tag_has_at_most_2000_characters_and_a_text_4000_of_them() -> None:
    assert render("{{ 'x' }}" * 4_000) == "x" * 4_000
    with pytest.raises(Invalid, match="more than 4000 outputs and tags"):
        render("{{ 'x' }}" * 4_001)
    assert render("{{ '" + "x" * 1_900 + "' }}") == "x" * 1_900
    with pytest.raises(Invalid, match="has more than 2000 characters"):
        render("{{ '" + "x" * 2_001 + "' }}")
