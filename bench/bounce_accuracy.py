"""How often the bounce classifier is right, on mails and replies that others have labelled.

    python -m bench.bounce_accuracy --labels DIR [--hold-back PERCENT] [--wrong N]

DIR contains `labels.jsonl`, one row per line, and the mails that its rows name: `kind` (`eml` with `file`, or
`smtp_text` with `text`), `source`, `canonical` (null: not scored), `alt` (other right answers), `action`,
`recipients`. Each row gets one verdict from the service's own parser and classifier, for the first recipient that the
mail reports; no policy, no history.

strict: the category is `canonical`. lenient: or in `alt`. action: the resulting action is right. Precision and recall
of `suppress` are separate, because that figure costs money. `--hold-back` scores a percentage of the rows, chosen by
the hash of their id, separately: look only at the rest while writing rules. `--wrong` lists verdicts that were not
lenient. Last line: JSON.
"""

import argparse
import hashlib
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.bounce.adapters.rulebook import shipped_classifier
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import Fact, judge, of_text
from services.bounce.domain.reports import read_mail

_SUPPRESS = "suppress"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One labelled row and its verdict."""

    row: dict[str, Any]
    fact: Fact

    @property
    def strict(self) -> bool:
        return bool(self.fact.category == self.row["canonical"])

    @property
    def lenient(self) -> bool:
        return self.strict or self.fact.category in self.row["alt"]

    @property
    def action(self) -> str:
        return CATEGORIES[self.fact.category].action.value


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that have a label."""
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [row | {"alt": row.get("alt") or []} for row in rows if row.get("canonical")]


def verdict_on(row: dict[str, Any], folder: Path, classifier: Classifier) -> Verdict:
    """Classify a row with the service's own functions. Like the label, the verdict is about the first reported
    recipient."""
    if row["kind"] != "eml":
        return Verdict(row, of_text(row["text"], classifier))
    report = read_mail((folder / row["file"]).read_bytes())
    first = report.recipients[0].address if report.recipients else None
    return Verdict(row, judge(report, classifier, lambda address: address == first))


def scores(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return shares between 0 and 1; precision and recall are 1 if there was nothing to find."""
    said = [one for one in verdicts if one.action == _SUPPRESS]
    meant = [one for one in verdicts if one.row["action"] == _SUPPRESS]
    right = sum(one.row["action"] == _SUPPRESS for one in said)
    count = len(verdicts)
    return {
        "rows": count,
        "strict": _share(sum(one.strict for one in verdicts), count),
        "lenient": _share(sum(one.lenient for one in verdicts), count),
        "action": _share(sum(one.action == one.row["action"] for one in verdicts), count),
        "suppress_precision": _share(right, len(said)),
        "suppress_recall": _share(right, len(meant)),
        "unmatched": _share(sum(one.fact.category == "undetermined" for one in verdicts), count) if count else 0.0,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0


def is_held_back(row: dict[str, Any], percent: int) -> bool:
    return hashlib.sha256(row["id"].encode()).digest()[0] * 100 // 256 < percent


def show(groups: Iterable[tuple[str, Sequence[Verdict]]]) -> None:
    """Print a table with a line per group."""
    names = ("rows", "strict", "lenient", "action", "suppress_precision", "suppress_recall", "unmatched")
    headings = ("rows", "strict", "lenient", "action", "precision", "recall", "unmatched")
    print(" " * 30 + "".join(f"{heading:>11}" for heading in headings))
    for title, verdicts in groups:
        found = scores(verdicts)
        cells = (f"{found[name]:>11,.0f}" if name == "rows" else f"{found[name]:>11.3f}" for name in names)
        print(f"{title:<30}" + "".join(cells))


def show_wrong(verdicts: Sequence[Verdict], most: int) -> None:
    """Print the verdicts that were not even lenient: counts by kind, then some of them."""
    wrong = [one for one in verdicts if not one.lenient]
    print("\nmeant → said")
    for (meant, said), count in Counter((o.row["canonical"], o.fact.category) for o in wrong).most_common(25):
        print(f"{count:>5}  {meant} → {said}")
    for one in wrong[:most]:
        text = " ".join(one.fact.text.split())[:160]
        said = f"{one.fact.category} by {one.fact.rule} ({one.fact.enhanced})"
        print(f"  {one.row['id']}: {one.row['canonical']} → {said} {text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bounce_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR", help="folder with labels.jsonl")
    parser.add_argument(
        "--hold-back", type=int, default=0, metavar="PERCENT", help="percentage of rows to score separately"
    )
    parser.add_argument("--wrong", type=int, default=0, metavar="N", help="number of wrong verdicts to list")
    options = parser.parse_args()
    if not (options.labels / "labels.jsonl").is_file():
        parser.error(f"{options.labels} has no labels.jsonl")
    classifier = shipped_classifier(Path(tempfile.gettempdir()) / "depesche-bench-rules")
    verdicts = [verdict_on(row, options.labels, classifier) for row in rows_of(options.labels)]
    by_source = defaultdict(list)
    for one in verdicts:
        by_source[f"{one.row['source']}, {one.row.get('trust', 'source')}"].append(one)
    open_rows = [one for one in verdicts if not is_held_back(one.row, options.hold_back)]
    groups = [*sorted(by_source.items()), ("in total", verdicts)]
    if options.hold_back:
        held = [one for one in verdicts if is_held_back(one.row, options.hold_back)]
        groups += [("open", open_rows), ("held back", held)]
    show(groups)
    if options.wrong:
        show_wrong(open_rows, options.wrong)
    found = scores(verdicts)
    wanted = ("rows", "strict", "lenient", "action", "suppress_precision", "suppress_recall")
    print(json.dumps({name: found[name] for name in wanted}))


if __name__ == "__main__":
    main()
