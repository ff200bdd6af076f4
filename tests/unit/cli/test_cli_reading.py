"""Events come out of a file as the bytes that went in, whatever the file's form."""

import gzip
import io
import json

import pytest

from cli import reading
from cli.errors import UsageError
from cli.reading import Line, lines_of


class Dripping(io.BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 7, 7) if size and size > 0 else 7)


def read(text: str | bytes, name: str = "") -> list[Line]:
    raw = text.encode() if isinstance(text, str) else text
    found = list(lines_of(io.BytesIO(raw), name=name))
    return found


def test_ndjson_keeps_line_numbers_and_bytes() -> None:
    assert read('{"a": 19.90}\n\n{"b": 12345678901234567890}\n') == [
        Line(1, b'{"a": 19.90}'),
        Line(3, b'{"b": 12345678901234567890}'),
    ]


def test_a_broken_line_is_passed_on_alone() -> None:
    assert [line.raw for line in read('{"a":1}\n{"b":\n{"c":3}')] == [b'{"a":1}', b'{"b":', b'{"c":3}']


def test_ndjson_whose_first_line_is_broken_is_still_ndjson() -> None:
    assert [line.number for line in read('{"a":\n{"b":2}\n')] == [1, 2]
    assert [line.number for line in read("nonsense\nmore\n", "events.ndjson")] == [1, 2]


def test_an_array_is_cut_without_being_parsed() -> None:
    text = '[\n  {"a": "}],[{", "n": 1.10},\r\n  {"b": ["\\"", {"c": "\\\\"}]}\n]'
    values = [line.raw for line in read(text)]
    assert [json.loads(value) for value in values] == json.loads(text)
    assert b"1.10" in values[0]
    assert all(b"\n" not in value for value in values)


def test_one_object_over_many_lines_is_one_event() -> None:
    assert [json.loads(line.raw) for line in read('{\n  "a": {\n "b": 1 }\n}\n')] == [{"a": {"b": 1}}]


def test_one_object_on_one_line_is_one_event() -> None:
    assert read('{"a":1}') == [Line(1, b'{"a":1}')]


def test_an_array_that_is_cut_off_leaves_its_rest_to_be_refused() -> None:
    assert [line.raw for line in read('[{"a":1},{"b":')] == [b'{"a":1}', b'{"b":']


def test_what_is_no_object_is_passed_on_to_be_refused() -> None:
    assert [line.raw for line in read('[1, {"a":1}, "x"]')] == [b"1", b'{"a":1}', b'"x"']


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert read(b'\xef\xbb\xbf{"a":1}\n{"b":2}\n')[0].raw == b'{"a":1}'


@pytest.mark.parametrize("text", ['[{"a":"x\\"y"},{"b":"ü€😀"}, {"c":[1,[2]]}]', '{"a":1}\n{"b":"\\u00e9"}\n'])
def test_pieces_may_end_anywhere(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [line.raw for line in read(text)]
    monkeypatch.setattr(reading, "_PIECE", 7)
    name = "x.ndjson" if text.startswith("{") else ""
    assert [line.raw for line in lines_of(Dripping(text.encode()), name=name)] == whole
    assert len(whole) >= 2


def test_an_empty_input_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="no events"):
        read(" \n ")


def test_a_packed_input_says_how_to_unpack_it() -> None:
    with pytest.raises(UsageError, match="compressed with gzip") as packed:
        list(lines_of(io.BytesIO(gzip.compress(b'{"id": "1"}')), name="day.ndjson"))
    assert "gunzip -c" in packed.value.hint


def test_a_line_that_never_ends_is_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_EVENT_BYTES", 100)
    monkeypatch.setattr(reading, "_PIECE", 50)
    with pytest.raises(UsageError, match="more than"):
        read("x" * 1000, "a.ndjson")


def test_what_powershell_writes_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        list(lines_of(io.BytesIO('{"id": "1"}\r\n'.encode("utf-16")), name="day.ndjson"))
    assert "iconv" in (caught.value.hint or "")
