"""Replies as servers word them, provider by provider, written by their meaning and without consulting the rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.facts import of_text
from tests.compiled import compiled_rules as rules

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


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("Benutzer kim ist nicht im Domino-Verzeichnis aufgeführt", "unknown-user"),
        ("Kim wurde unter x.example nicht gefunden.", "unknown-user"),
        ("kim est introuvable sur x.example.", "unknown-user"),
        ("kim is niet gevonden op x.example.", "unknown-user"),
        ("Nie znaleziono adresata kim w domenie x.example.", "unknown-user"),
        ("kim, x.example etki alanında bulunamadı.", "unknown-user"),
        ("宛先メールアドレスは存在しないか、利用されていません。", "unknown-user"),
        ("користувача не знайдено", "unknown-user"),
        ("Receiver not found: kim", "unknown-user"),
        ("受信トレイの容量が上限に達しているため、配信できませんでした。", "mailbox-full"),
        ("551 gebruiker is verhuisd, nieuw adres: kim@y.example", "moved"),
        ("Your message was blocked by our Spam Firewall. It has NOT BEEN DELIVERED.", "spam-content"),
    ],
)
def test_the_sentences_of_reports_mean_what_they_say(said: str, category: str) -> None:
    assert of_text(said, rules()).category == category


def test_a_reply_not_about_the_mailbox_suppresses_nothing() -> None:
    barred = [
        (row["text"], said.rule)
        for row in ROWS
        if CATEGORIES[row["category"]].action is not Action.SUPPRESS
        and (said := of_text(row["text"], rules())).permanent
        and CATEGORIES[said.category].action is Action.SUPPRESS
    ]
    assert barred == []
