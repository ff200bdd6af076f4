"""JSON is read exactly: digits preserved, ambiguity refused with a reason, nothing unstorable accepted."""

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs import exact_json
from libs.errors import BadRequest


@pytest.mark.parametrize(
    "text",
    ["123456789012345678", "19.90", "0.10", "1234567890.123456789012", "-0.001", "true", "null"],
)
def test_numbers_keep_every_digit(text: str) -> None:
    assert exact_json.dumps(exact_json.loads(text.encode())).decode() == text


@given(
    st.integers(-(10**45), 10**45).map(str) | st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers(-420, 420),
)
@example("1", 400)
@example("-1", 400)
@example("1", -400)
@example("-1." + "7" * 380, -400)
def test_an_accepted_number_is_readable_again_as_a_database_writes_it(literal: str, exponent: int) -> None:
    text = f"[{literal}e{exponent}]" if "E" not in literal else f"[{literal}]"
    try:
        (number,) = exact_json.loads(text.encode())
    except BadRequest:
        return
    assert exact_json.loads(f"[{number:f}]".encode()) == [number]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé", max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_json_value_is_read(value: object) -> None:
    assert exact_json.loads(json.dumps(value).encode()) == value


def test_emoji_and_right_to_left_text_survive() -> None:
    text = "שלום 👩‍👩‍👧 مرحبا"
    assert exact_json.loads(json.dumps({"t": text}).encode()) == {"t": text}
    assert exact_json.loads(json.dumps({"t": text}, ensure_ascii=False).encode()) == {"t": text}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a":1,"a":2}', "'a' occurs twice"),
        (b'{"a":NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'["\\ud83d"]', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'["\\u0000"]', "U+0000"),
        (b'{"a":', "line 1"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "deeper than 100"),
        (b"[1e999999999]", "out of range"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b"", "line 1"),
    ],
)
def test_ambiguous_json_is_refused_with_a_reason(raw: bytes, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        exact_json.loads(raw)
    assert says in refused.value.detail


def test_the_pointer_locates_the_broken_text() -> None:
    with pytest.raises(BadRequest) as refused:
        exact_json.loads(b'{"data":{"a/b":["ok","\\ud83d"]}}')
    assert refused.value.errors[0].pointer == "/data/a~1b/1"


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    text = "[{" * 500
    assert exact_json.loads(json.dumps([text]).encode()) == [text]


def test_decimals_stay_decimals() -> None:
    assert exact_json.loads(b"[19.90]") == [Decimal("19.90")]


def test_a_byte_order_mark_is_ignored() -> None:
    assert exact_json.loads(b"\xef\xbb\xbf{}") == {}
