"""The measurement counts as the evaluation's layout defines, on rows of our own."""

import json
from pathlib import Path
from typing import Any

from bench.bounce_accuracy import is_held_back, rows_of, scores, verdict_on
from tests.compiled import compiled_rules as rules

MAIL = b"""From: MAILER-DAEMON@mx.shop.example
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Some were not delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.shop.example

Final-Recipient: rfc822; gone@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

Final-Recipient: rfc822; full@example.org
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 Mailbox is full

--b--
"""
ROWS: list[dict[str, Any]] = [
    {"id": "a/1", "kind": "eml", "file": "a.eml", "canonical": "unknown-user", "action": "suppress"},
    {"id": "a/2", "kind": "smtp_text", "text": "552 5.2.2 over quota", "canonical": "mailbox-full", "action": "count"},
    {"id": "a/3", "kind": "smtp_text", "text": "552 5.2.2 over quota", "canonical": "too-large",
     "alt": ["mailbox-full"], "action": "fix-sender"},
    {"id": "a/4", "kind": "smtp_text", "text": "550 5.1.1 User unknown", "canonical": "policy", "action": "fix-sender"},
    {"id": "a/5", "kind": "smtp_text", "text": "hello", "canonical": None, "action": "review"},
]  # fmt: skip


def test_each_row_counts_as_the_layout_defines(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(MAIL)
    (tmp_path / "labels.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n")
    verdicts = [verdict_on(row, tmp_path, rules()) for row in rows_of(tmp_path)]
    assert [one.fact.category for one in verdicts] == ["unknown-user", "mailbox-full", "mailbox-full", "unknown-user"]
    assert scores(verdicts) == {
        "rows": 4,
        "strict": 0.5,
        "lenient": 0.75,
        "action": 0.5,
        "suppress_precision": 0.5,
        "suppress_recall": 1.0,
        "unmatched": 0.0,
    }


def test_the_held_back_rows_are_deterministic() -> None:
    rows = [{"id": f"row/{n}"} for n in range(1_000)]
    held = [row for row in rows if is_held_back(row, 30)]
    assert 250 < len(held) < 350
    assert all(is_held_back(row, 40) for row in held)
