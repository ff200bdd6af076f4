"""Lists a page at a time: what a cursor carries, and what is no cursor of a list."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from libs.errors import Invalid
from libs.ids import uuid7
from libs.paging import BIGINTS, Page, make_cursor, page_of, read_cursor

MOMENT = datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)


def test_a_cursor_returns_its_key_exactly() -> None:
    id_ = uuid7()
    assert read_cursor(make_cursor(MOMENT, id_), datetime, UUID) == (MOMENT, id_)
    assert read_cursor(make_cursor("B-1", 7), str, int) == ("B-1", 7)
    assert read_cursor(make_cursor(BIGINTS - 1), int, below=BIGINTS) == (BIGINTS - 1,)


def test_a_time_is_the_same_moment_whatever_its_offset() -> None:
    local = MOMENT.astimezone(timezone(timedelta(hours=2)))
    assert read_cursor(make_cursor(local), datetime) == (MOMENT,)
    assert read_cursor(make_cursor(MOMENT.isoformat()), datetime) == (MOMENT,)


def test_the_first_page_has_no_key() -> None:
    assert read_cursor(None, str) is None
    assert read_cursor("", str) is None


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        (["x", "y"], [str]),
        ([], [str]),
        ([1], [str]),
        (["1"], [int]),
        ([True], [int]),
        ([-1], [int]),
        ([1 << 31], [int]),
        ([1.5], [int]),
        ([{}], [list]),
        ([None], [UUID]),
        ([7], [UUID]),
        (["x"], [UUID]),
        ([7], [datetime]),
        (["yesterday"], [datetime]),
        (["2026-03-01T09:30:00"], [datetime]),
        (["0001-01-01T00:00:00+14:00"], [datetime]),
        (["9999-12-31T23:59:59-14:00"], [datetime]),
    ],
)
def test_the_cursor_of_another_list_is_refused(key: list[Any], kinds: list[type]) -> None:
    with pytest.raises(Invalid, match="another list") as refused:
        read_cursor(make_cursor(*key), *kinds, pointer="/cursor")
    assert refused.value.errors[0].pointer == "/cursor"


@pytest.mark.parametrize("cursor", ["x", "!!", "é", make_cursor("a\0b"), make_cursor("x")[:-2]])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="leave it out to start over"):
        read_cursor(cursor, str)


def test_a_page_ends_with_a_cursor_only_if_more_follows() -> None:
    rows = [3, 4, 5]
    assert page_of(rows, 2, str, lambda row: (row,)) == Page(items=["3", "4"], next_cursor=make_cursor(4))
    assert page_of(rows, 3, str, lambda row: (row,)) == Page(items=["3", "4", "5"], next_cursor=None)
    assert page_of([], 3, str, lambda row: (row,)) == Page(items=[], next_cursor=None)
