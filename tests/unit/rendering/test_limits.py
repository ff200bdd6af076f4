"""Promise: every limit of a render holds at its number, no more and no less."""

import pytest

from libs.rendering import LimitExceeded
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.limits import MAX_ITEMS, MAX_LOCALS
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


@pytest.mark.parametrize("loop", ["for", "tablerow"])
def test_a_loop_counts_its_body(loop: str) -> None:
    condition = "{% if event.data.a == 1 and event.data.b == 2 %}{% endif %}"

    def source(length: int) -> str:
        return f"{{% {loop} i in (1..4000) %}}{condition * length}{{% end{loop} %}}"

    render(source(1), kind="html", a=1, b=2)
    with pytest.raises(LimitExceeded, match="too much work: its loops exceed 120,000 steps"):
        render(source(12), kind="html", a=1, b=2)
