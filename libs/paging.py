"""Lists over HTTP, a page at a time.

A cursor is the sort key of the last row shown, so a page starts in the right place whatever was added or removed in
the meantime. It is opaque to callers, who may send anything in its place.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar, overload
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from libs import exact_json
from libs.errors import BadRequest, Invalid

T = TypeVar("T")
Row = TypeVar("Row")
First = TypeVar("First")
Second = TypeVar("Second")

INTEGERS = 1 << 31  # above every integer of SQL
BIGINTS = 1 << 62  # above every bigint that occurs

Limit = Annotated[int, Query(ge=1, le=1000, description="Items per page.")]
After = Annotated[str | None, Query(alias="cursor", description="`next_cursor` of the previous page.")]


class Page(BaseModel, Generic[T]):
    """One page of a list; request the next with `cursor=next_cursor` until it is null."""

    items: list[T]
    next_cursor: str | None = Field(None, examples=["WzQyXQ"])


def page_of(
    found: Sequence[Row], limit: int, shown: Callable[[Row], T], key: Callable[[Row], tuple[Any, ...]]
) -> Page[T]:
    """Return a page of rows queried for one more than `limit`. `key` returns a row's sort key."""
    return Page(items=[shown(row) for row in found[:limit]], next_cursor=next_cursor(found, limit, key))


def next_cursor(found: Sequence[Row], limit: int, key: Callable[[Row], tuple[Any, ...]]) -> str | None:
    """Return the cursor after the first `limit` rows; None if there are no more rows."""
    return make_cursor(*key(found[limit - 1])) if len(found) > limit else None


def make_cursor(*key: Any) -> str:
    """Return the cursor of a sort key: texts, numbers, UUIDs and aware times."""
    return base64.urlsafe_b64encode(exact_json.dumps(key)).rstrip(b"=").decode()


@overload
def read_cursor(
    cursor: str | None, first: type[First], /, *, below: int = ..., pointer: str = ...
) -> tuple[First] | None: ...
@overload
def read_cursor(
    cursor: str | None, first: type[First], second: type[Second], /, *, below: int = ..., pointer: str = ...
) -> tuple[First, Second] | None: ...
@overload
def read_cursor(
    cursor: str | None, /, *kinds: type, below: int = ..., pointer: str = ...
) -> tuple[Any, ...] | None: ...
def read_cursor(
    cursor: str | None, /, *kinds: type, below: int = INTEGERS, pointer: str = "cursor"
) -> tuple[Any, ...] | None:
    """Return the sort key after which the page starts; None for the first page.

    `kinds`: what the key consists of, each str, int, list, UUID or datetime. Numbers must be from 0 on and less than
    `below`. `pointer` names the cursor's field. Raises Invalid, also for the cursor of another list."""
    if not cursor:
        return None
    try:
        key = exact_json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, BadRequest) as error:
        raise Invalid("This is not a cursor of ours; leave it out to start over.", pointer=pointer) from error
    try:
        if not isinstance(key, list):
            raise ValueError
        return tuple(_part(part, kind, below) for part, kind in zip(key, kinds, strict=True))
    except (ValueError, OverflowError) as error:
        raise Invalid("The cursor belongs to another list; leave it out to start over.", pointer=pointer) from error


def _part(part: Any, kind: type, below: int) -> Any:
    """Raises ValueError, and OverflowError for a time outside the calendar."""
    if kind in (UUID, datetime):
        if not isinstance(part, str):
            raise ValueError
        return UUID(part) if kind is UUID else _time(part)
    if type(part) is not kind or (isinstance(part, int) and not 0 <= part < below):
        raise ValueError
    return part


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)
