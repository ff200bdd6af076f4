"""Replies as servers word them, provider by provider, written by their meaning and without consulting the rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.facts import of_text
from tests.unit.bounce.shipped import rules

REPLIES = Path(__file__).parents[3] / "services/bounce/shipped_model/replies.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in REPLIES.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("about", sorted({row["about"] for row in ROWS}))
def test_each_reply_gets_the_category_it_means(about: str) -> None:
    wrong = []
    for row in ROWS:
        said = of_text(row["text"], rules())
        if row["about"] == about and said.category not in (row["category"], *row.get("also", ())):
            wrong.append((row["text"], row["category"], said.category, said.rule))
    assert wrong == []


def test_a_reply_not_about_the_mailbox_suppresses_nothing() -> None:
    barred = [
        (row["text"], said.rule)
        for row in ROWS
        if CATEGORIES[row["category"]].action is not Action.SUPPRESS
        and (said := of_text(row["text"], rules())).permanent
        and CATEGORIES[said.category].action is Action.SUPPRESS
    ]
    assert barred == []
