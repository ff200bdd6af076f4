"""How fast bounces are judged on one core, and at what cost: our pipeline, the usual ways, and the bare engine.

    python -m bench.bounce_speed [--mails N] [--texts N] [--stored N] [--euros-per-core-hour X]

Mails and replies are made from the shipped rules' examples, each with its own address and ids: seven in ten are RFC
3464 reports, the rest are in the forms of Exim and qmail. Every row is CPU time of one core, best of three rounds;
classified only, with the shipped rules and with 3,000 more.

ours: bytes to fact (`read_mails`, `facts_of`), or text to fact (`of_replies`), a hundred at a time as in the
services. "remembered": a reply that rules cannot distinguish from an earlier one reuses its verdict; the replies here
are some hundreds that differ in addresses and ids. "asked each time" uses no cache, as if no two were alike. standard
library: `email`, and the same rules one by one with `re`. bare: Hyperscan alone over prepared texts, without a
decision. stored: mails stored in Postgres are leased, read, judged, and become facts, suppressions and events. Last
line: JSON.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from bench.bounce_rows import mails_of, texts_of
from bench.bounce_store import store
from libs.service import calm_garbage_collection
from services.bounce.adapters.engines import compiled
from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.adapters.shipped_rules import shipped
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import Fact, facts_of, judge, of_replies, of_text, reply_in
from services.bounce.domain.reports import read_mail, read_mails
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import RuleSet, rules_of
from services.bounce.domain.rules.wording import comparable

EXTRA = 3_000
ROUNDS = 3
FEW = 100  # for the slow ways
TOGETHER = 100
_TURNS = 2_000_000
GOALS = {"mails": 14_000, "stored": 5_600, "texts": 200_000, "texts_extra": 100_000}
AN_HOUR = 5_000_000
HOURS_A_MONTH = 730
CACHE = Path(gettempdir()) / "depesche-bench-rules"


@dataclass(frozen=True, slots=True)
class Work:
    """The mails and replies to measure on."""

    mails: Sequence[bytes]
    texts: Sequence[str]


def rate(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return items per second of this process's CPU time, best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - started)
    return len(items) / best


def classifier_of(extra: int) -> Classifier:
    """Build a classifier from the shipped rules and `extra` rules of an organisation."""
    rules, providers = shipped()
    more = [
        {"id": f"own-{n}", "category": "policy", "contains": [f"rule number {n} of the house", f"house code h{n}x"]}
        for n in range(extra)
    ]
    all_of_them = RuleSet((*rules.rules, *rules_of(more, Layer.ORGANISATION, {})), rules.signs)
    return Classifier(all_of_them, compiled(all_of_them, CACHE), providers)


def forgetting(classifier: Classifier, work: Work) -> tuple[float, float]:
    """Measure ours without a cache, as if no two replies were alike."""
    return ours(Classifier(classifier.rules, classifier.scan, classifier.providers, remembered=0), work)


def ours(classifier: Classifier, work: Work) -> tuple[float, float]:
    """Return mails and texts per second, read and judged a hundred at a time, as in the services."""

    def mails(raws: Sequence[bytes]) -> None:
        facts_of([(report, _nobody) for report in read_mails(raws)], classifier)

    def texts(said: Sequence[str]) -> None:
        of_replies([reply_in(text, classifier.providers) for text in said], classifier)

    return by_hundreds(mails, work.mails), by_hundreds(texts, work.texts)


def by_hundreds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return items per second, processed a hundred at a time."""
    batches = [items[begin : begin + TOGETHER] for begin in range(0, len(items), TOGETHER)]
    return rate(work, batches) * len(items) / len(batches)


def _nobody(address: str) -> bool:
    return False


def standard_library(classifier: Classifier, work: Work) -> tuple[float, float]:
    """The way of a hundred scripts: email, walk, and one expression after the other."""
    one_by_one = Classifier(classifier.rules, ReScan(classifier.rules.patterns), classifier.providers, remembered=0)
    mails = rate(lambda raw: of_text(_by_email(raw), one_by_one), work.mails[:FEW])
    return mails, rate(lambda text: of_text(text, one_by_one), work.texts[:FEW])


def _by_email(raw: bytes) -> str:
    message: Any = message_from_bytes(raw, policy=policy.compat32)
    text = ""
    for part in message.walk():
        if part.get_content_type() == "message/delivery-status":
            for block in part.get_payload():
                if block.get("Diagnostic-Code"):
                    return str(block["Diagnostic-Code"]).partition(";")[2]
        elif part.get_content_type() == "text/plain" and not text:
            text = part.get_payload(decode=True).decode("latin-1")
    return text


def bare(classifier: Classifier, work: Work) -> tuple[float, float]:
    return 0.0, rate(classifier.scan, [comparable(text) for text in work.texts])


WAYS = {
    "ours, remembered": ours,
    "ours, asked each time": forgetting,
    "standard library": standard_library,
    "bare Hyperscan": bare,
}


def turn() -> float:
    """Return the CPU nanoseconds of one turn of an empty loop: how fast this machine currently is."""
    started = time.process_time()
    for _ in range(_TURNS):
        pass
    return (time.process_time() - started) / _TURNS * 1e9


def show(rows: Sequence[tuple[str, float, float]], price: float) -> None:
    """Print a line per row: with the shipped rules, with more, and the monthly cost of millions an hour."""
    print(f"{'a second of one core':<30}{'shipped':>12}{f'+{EXTRA:,}':>12}{'µs':>10}{'€/month':>10}")
    for title, at_shipped, with_more in rows:
        month = AN_HOUR / at_shipped / 3_600 * HOURS_A_MONTH * price
        more = f"{with_more:>12,.0f}" if with_more else f"{'':>12}"
        print(f"{title:<30}{at_shipped:>12,.0f}{more}{1e6 / at_shipped:>10.1f}{month:>10.2f}")
    print(f"\n€/month: {AN_HOUR:,} an hour, day and night, at {price} € per core and hour")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bounce_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mails", type=int, default=5_000)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--stored", type=int, default=10_000, help="mails through Postgres; 0: none")
    parser.add_argument("--euros-per-core-hour", type=float, default=0.008, help="a shared core of a cloud")
    options = parser.parse_args()
    few, many = classifier_of(0), classifier_of(EXTRA)
    assert isinstance(judge(read_mail(b""), few), Fact)  # warm up
    work = Work(mails_of(few.rules.rules, options.mails), texts_of(few.rules.rules, options.texts))
    calm_garbage_collection()  # as in every process of ours
    before = turn()
    rows: list[tuple[str, float, float]] = []
    for title, way in WAYS.items():
        (mails, texts), (mails_more, texts_more) = way(few, work), way(many, work)
        rows += [(f"mails, {title}", mails, mails_more)] if mails else []
        rows += [(f"texts, {title}", texts, texts_more)]
    if options.stored:
        kept = store(few, options.stored)
        rows += [("mails stored, this process", kept.own, 0.0), ("mails stored, with Postgres", kept.both, 0.0)]
    print(f"{len(few.rules.rules)} shipped rules, {len(few.rules.patterns)} patterns; load {os.getloadavg()[0]:.1f}")
    print(f"a turn of an empty loop: {before:.0f} ns before, {turn():.0f} ns after\n")
    show(rows, options.euros_per_core_hour)
    by_title = {title: (at_shipped, with_more) for title, at_shipped, with_more in rows}
    found = {"mails": by_title["mails, ours, remembered"][0]}
    for name, title in (("texts", "ours, remembered"), ("texts_asked", "ours, asked each time")):
        found |= dict(zip((name, f"{name}_extra"), by_title[f"texts, {title}"], strict=True))
    found |= {"stored": by_title.get("mails stored, with Postgres", (0,))[0]}
    print(json.dumps({name: round(value) for name, value in found.items()} | {"goals": GOALS}))


if __name__ == "__main__":
    main()
