"""What `why` and `timeline` print for people."""

import io

from rich.console import Console

from cli.explain import traces


def test_the_trace_of_an_answer_is_printed_once_and_whole() -> None:
    url = "http://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c"
    printed = traces([{"links": {"trace": url}}, {"links": {"trace": url}}, {"links": {"trace": None}}, {}])
    console = Console(width=40, file=io.StringIO())
    console.print(*printed)
    # folded where the terminal ends, never cut
    assert "".join(console.file.getvalue().split()) == f"Trace:{url}"  # type: ignore[attr-defined]
