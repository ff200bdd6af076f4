"""Owns the verdict where history has no record of a case: where the trace ends, from the other services' answers."""

from collections.abc import Sequence

from libs.contracts.outcomes import Mode
from services.history.domain.case import Case, Trace
from services.history.domain.facts import Decision
from services.history.domain.verdict import Verdict, clock_of, refused

_SOURCES_HINT = "Compare the shop's log with its API key and source here; `depesche events send` shows refusals."
_OTHER_MODE = {Mode.LIVE: "test", Mode.TEST: "live"}
_SHOWN = 3  # names of other cases in a sentence


def decide_without_trace(trace: Trace | None, mode: Mode) -> Verdict:
    """Return the verdict where history has no record, from intake's answer (None: intake is unavailable)."""
    if trace is None:
        return Verdict(
            "no_trace",
            "History has no trace of it, and orders-notification cannot be reached right now.",
            "Ask again when orders-notification is available.",
            certain=False,
            lost_at="intake",
        )
    if trace.events:
        return _decided_meanwhile(trace.events)
    if trace.undecided:
        sentence = f"Event {trace.undecided[0]} was accepted, but no decision has been made about it yet."
        return Verdict("not_yet", sentence, "Ask again in a minute.", lost_at="decision")
    if trace.rejections:
        kept = trace.rejections[-1]
        sentence = f"The event arrived at {clock_of(kept.at)} and was refused. {kept.sentence}"
        step = "Fix the event, its mapping or its schema, then replay the stored event."
        return Verdict("no_trace", sentence, step, lost_at="intake")
    sentence = f"Nothing about it ever arrived in {mode.word} mode."
    other = _OTHER_MODE[mode]
    step = f"{_SOURCES_HINT} Events sent with a {other} key are visible only to a {other} key (`--mode {other}`)."
    return Verdict("no_trace", sentence, step, lost_at="source")


def decide_without_address(mode: Mode) -> Verdict:
    """Return the verdict on a question about an address alone to which no message ever went."""
    sentence = f"No message was ever meant for this address in {mode.word} mode."
    step = (
        "Ask by recipient key or order: that also finds what was refused before an address was chosen. What an erased "
        "customer got is found by order alone."
    )
    return Verdict("no_trace", sentence, step, lost_at="address")


def decide_elsewhere(others: Sequence[Case]) -> Verdict:
    """Return the verdict where no case matches the whole question, but these match a part of it."""
    names = sorted({other.communication for other in others if other.communication is not None})
    what = (
        f"of {', '.join(names[:_SHOWN])}{' and others' if len(names) > _SHOWN else ''}"
        if names
        else "of no communication"
    )
    sentence = f"Nothing matches the whole question. The partial matches are {what}; see the other results."
    step = "Leave out the communication or the recipient, or correct it; `depesche communications list` has the names."
    return Verdict("no_trace", sentence, step, lost_at="decision")


def _decided_meanwhile(events: Sequence[Decision]) -> Verdict:
    if any(decision.requested for decision in events):
        return Verdict("not_yet", "It was requested a moment ago.", "Ask again in a minute.", lost_at="delivery")
    return refused(events[-1].reason, events[-1].detail)
