"""Owns the verdict where history knows nothing of a case: where the trace ends, by what the others say."""

from collections.abc import Sequence

from libs.contracts.outcomes import Mode
from services.history.domain.case import Case, Trace
from services.history.domain.facts import Decision
from services.history.domain.verdict import Verdict, clock_of, refused

_SOURCES_HINT = "Compare the shop's own log with its key and source here; `depesche events send` shows refusals."
_OTHER_MODE = {Mode.LIVE: "test", Mode.TEST: "live"}
_SHOWN = 3  # of other cases, by name


def decide_without_trace(trace: Trace | None, mode: Mode) -> Verdict:
    """The verdict where history knows nothing: intake was asked, and this is what it says (None: it is away)."""
    if trace is None:
        return Verdict(
            "no_trace",
            "There is no trace of it here, and intake cannot be asked right now.",
            "Ask again when orders-notification answers.",
            certain=False,
            lost_at="intake",
        )
    if trace.events:
        return _decided_meanwhile(trace.events)
    if trace.undecided:
        sentence = f"The event {trace.undecided[0]} was accepted, but nothing has been decided about it yet."
        return Verdict("not_yet", sentence, "Ask again in a minute.", lost_at="decision")
    if trace.rejections:
        kept = trace.rejections[-1]
        sentence = f"The event arrived at {clock_of(kept.at)} and was refused. {kept.sentence}"
        step = "Mend the event, its mapping or its schema, then replay what was kept."
        return Verdict("no_trace", sentence, step, lost_at="intake")
    sentence = f"Nothing about it ever arrived here in {mode.word} mode."
    other = _OTHER_MODE[mode]
    step = f"{_SOURCES_HINT} What came with a {other} key is seen by a {other} key (`--mode {other}`)."
    return Verdict("no_trace", sentence, step, lost_at="source")


def decide_without_address(mode: Mode) -> Verdict:
    """The verdict where an address alone was asked about, and no message ever went to it."""
    sentence = f"Nothing was ever meant for this address in {mode.word} mode."
    step = "Ask with the recipient's key or the order: what was refused before an address was chosen is found there."
    return Verdict("no_trace", sentence, step, lost_at="address")


def decide_elsewhere(others: Sequence[Case]) -> Verdict:
    """The verdict where nothing fits all parts of a question, and these cases fit some."""
    names = sorted({other.communication for other in others if other.communication is not None})
    what = (
        f"of {', '.join(names[:_SHOWN])}{' and others' if len(names) > _SHOWN else ''}"
        if names
        else "of no communication"
    )
    sentence = f"Nothing fits all of this together. What there is about it is {what}; see the others that fit."
    step = (
        "Ask without the communication or the recipient, or correct it; `depesche communications list` has the names."
    )
    return Verdict("no_trace", sentence, step, lost_at="decision")


def _decided_meanwhile(events: Sequence[Decision]) -> Verdict:
    if any(decision.requested for decision in events):
        return Verdict("not_yet", "It was requested a moment ago.", "Ask again in a minute.", lost_at="delivery")
    return refused(events[-1].reason, events[-1].detail)
