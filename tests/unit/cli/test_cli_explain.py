"""What `why` and `timeline` print for people."""

import io
from collections import Counter

import pytest
from rich.console import Console

from cli.explain import _timeline, chain, traces


def test_the_trace_id_is_printed_once_and_whole() -> None:
    url = "http://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c"
    printed = traces([{"links": {"trace": url}}, {"links": {"trace": url}}, {"links": {"trace": None}}, {}])
    console = Console(width=40, file=io.StringIO())
    console.print(*printed)
    # wrapped at the terminal's width, never cut
    assert "".join(console.file.getvalue().split()) == f"Trace:{url}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 60, 200])
def test_nothing_is_lost_on_a_narrow_terminal(width: int) -> None:
    fact = {"at": "2027-03-01T09:00:00Z", "source": "orders-notification", "text": "Failed by email: mailbox"}
    console = Console(width=width, file=io.StringIO())
    console.print(chain([fact]), _timeline([fact | {"communication": "order-confirmation"}]))
    printed = "".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    letters = Counter(printed)
    assert letters["x"] == 2  # truncated, it would be missing
    assert letters["b"] == 4
