"""Rows as the columns that unnest takes."""

from collections.abc import Sequence
from typing import Any

from libs.storage.arrays import columns


def by_kind(rows: Sequence[tuple[Any, ...]], own: int) -> list[list[Any]]:
    """Return rows as columns: each row's first `own` fields, the index of its kind (from 1), then the kinds' fields.

    Most rows of a batch share most values: each combination is passed once and looked up by index.
    """
    kinds: dict[tuple[Any, ...], int] = {}
    places = [kinds.setdefault(row[own:], len(kinds) + 1) for row in rows]
    return [*columns([row[:own] for row in rows]), places, *columns(list(kinds))]
