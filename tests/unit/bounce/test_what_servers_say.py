"""Replies as servers word them, written without asking the rules: by what each means, provider by provider."""

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
def test_what_a_server_means_is_understood(about: str) -> None:
    wrong = []
    for row in ROWS:
        said = of_text(row["text"], rules())
        if row["about"] == about and said.category not in (row["category"], *row.get("also", ())):
            wrong.append((row["text"], row["category"], said.category, said.rule))
    assert wrong == []


def test_nobody_is_barred_for_a_reply_that_is_not_about_the_mailbox() -> None:
    barred = [
        (row["text"], said.rule)
        for row in ROWS
        if CATEGORIES[row["category"]].action is not Action.SUPPRESS
        and (said := of_text(row["text"], rules())).permanent
        and CATEGORIES[said.category].action is Action.SUPPRESS
    ]
    assert barred == []
