"""Owns the verdict: turns everything known about a case into one answer in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.contracts.outcomes import Mode, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.came_back import NOT_BACK, meaning, told
from services.history.domain.case import Case, Trace, Waiting
from services.history.domain.chain import sentence_of
from services.history.domain.facts import Decision, Message
from services.history.domain.unanswered import (
    AND_THEN,
    accepted_attempts,
    asked_about,
    reason_of,
    unanswered,
    why_again,
)

_WAITS = frozenset({Status.PENDING, Status.SENDING})
_SOURCES_HINT = "Compare the shop's log with its API key and source here; `depesche events send` shows refusals."
_OTHER_MODE = {Mode.LIVE: "test", Mode.TEST: "live"}
_SHOWN = 3  # names of other cases in a sentence


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code`: sent, sent_twice, bounced, not_sent, not_yet, unknown or no_trace; `reason`: a word of the closed list.

    `certain` is False where the facts allow another reading (a repeat after a timeout may or may not have arrived
    twice). `lost_at`: for no_trace, the place where the trace ends.
    """

    code: str
    sentence: str
    next_step: str
    reason: Reason = Reason.NONE
    certain: bool = True
    until: datetime | None = None
    lost_at: str | None = None


def decide(case: Case) -> Verdict:
    """Return the verdict on one notification: the first rule that matches."""
    sent = [message for message in case.messages if message.latest.status is Status.SENT]
    if sent:
        return _repeated(case) or _bounced(case, sent) or _sent(case, sent)
    waits = [message for message in case.messages if message.latest.status in _WAITS]
    if waits or (not case.messages and any(d.requested for d in case.decisions)):
        return _not_yet(case, waits)
    unknown = [message for message in case.messages if message.latest.status is Status.UNKNOWN]
    if unknown:
        return _unknown(case, unknown[0])
    return _not_sent(case)


# ---- sent


def _sent(case: Case, sent: Sequence[Message]) -> Verdict:
    first = min(sent, key=lambda m: m.latest.at)
    channels = ", ".join(sorted({m.latest.channel.word for m in sent if m.latest.channel is not None})) or "a channel"
    seen = _best_receipt(case, sent)
    back = sum(_came_back(case, message) for message in sent)
    partly = f"It bounced from {back} of {len(sent)} addresses{meaning(case, barred=False)[0]}."
    proof = f" {seen or (partly if back else 'No delivery or bounce has been reported since.')}"
    others = len(case.messages) - len(sent)
    rest = f" {others} other address{'es' if others > 1 else ''} got nothing." if others else ""
    asked = asked_about(sent)
    if asked is not Reason.NONE:
        proof = f" {asked.text.sentence}{AND_THEN.get(asked, '')}{proof}"
    sentence = f"It was sent: the provider accepted it by {channels} at {_clock(first.latest.at)}.{proof}{rest}"
    return Verdict("sent", sentence + _same_text(case), _after_sent(seen), asked)


def _best_receipt(case: Case, sent: Sequence[Message]) -> str:
    kinds = {receipt.kind for message in sent for receipt in message.receipts}
    kinds |= {kind for category, kind in _TOLD_BY_MAIL.items() if told(case, category)}
    for kind, text in (
        (ReceiptKind.COMPLAINED, "The customer reported it as spam."),
        (ReceiptKind.UNSUBSCRIBED, "The customer unsubscribed from it."),
        (ReceiptKind.CONVERTED, "The customer acted on it."),
        (ReceiptKind.CLICKED, "The customer clicked a link in it."),
        (ReceiptKind.OPENED, "The customer opened it."),
        (ReceiptKind.DELIVERED, "The provider reported that it was delivered."),
    ):
        if kind in kinds:
            return text
    return ""


_TOLD_BY_MAIL = {"complaint": ReceiptKind.COMPLAINED, "unsubscribe": ReceiptKind.UNSUBSCRIBED}


def _after_sent(seen: str) -> str:
    if "spam" in seen:
        return Reason.SUPPRESSED_COMPLAINT.text.next_step
    if seen:
        return "Nothing to do: it arrived."
    return "Ask the customer to check the spam folder or the device's notification settings."


def _same_text(case: Case) -> str:
    if case.rendered is None:
        return ""
    if case.rendered.digest == "equal":
        return " Rendering it again from its release gives the same text, byte for byte."
    why = f" {case.rendered.why}" if case.rendered.why else ""  # a sentence of its own
    if case.rendered.digest == "differs":
        return f" Rendering it again today gives a different text.{why}"
    return f" Its text can no longer be reproduced.{why}"


# ---- sent twice


def _repeated(case: Case) -> Verdict | None:
    for message in case.messages:
        proven = accepted_attempts(message)
        if len(proven) > 1:
            tries = " and ".join(str(attempt) for attempt in sorted(proven))
            sentence = f"It was sent twice: the provider accepted attempts {tries}. {why_again(message)}"
            return Verdict("sent_twice", sentence, _LEAVE, reason_of(message))
        if unanswered(message):
            sentence = f"It may have arrived twice. {why_again(message)}"
            return Verdict("sent_twice", sentence, _LEAVE, reason_of(message), certain=False)
    return _two_notifications(case)


_LEAVE = "If a duplicate is worse than a loss for this communication, set its on_unknown to `leave` or `verify`."


def _two_notifications(case: Case) -> Verdict | None:
    sent = [twin for twin in case.twins if any(m.latest.status is Status.SENT for m in twin)]
    if not sent:
        return None
    times = sorted([case.messages[0].latest.at, *(twin[0].latest.at for twin in sent)])
    causes = len({case.cause_id, *(twin[0].cause_id for twin in sent)})
    sentence = (
        f"It was sent {len(times)} times, at {' and '.join(_clock(at) for at in times)}, because {causes} different "
        "events requested the same communication about the same order."
    )
    step = "Check whether the shop sends one fact under two event ids; a repeat of the same id is recognised."
    return Verdict("sent_twice", sentence, step, Reason.NONE)


# ---- bounced, not yet, unknown


def _bounced(case: Case, sent: Sequence[Message]) -> Verdict | None:
    if len(sent) != sum(_came_back(case, message) for message in sent):
        return None
    barred = any(d.type == "suppression.changed" and d.body.get("active") for d in case.documents)
    follows = " The address has been suppressed since." if barred else ""
    because, step = meaning(case, barred=barred)
    sentence = f"It was sent at {_clock(sent[0].latest.at)}, but bounced{because}.{follows}"
    return Verdict("bounced", sentence, step, Reason.SUPPRESSED_BOUNCE if barred else Reason.NONE)


def _came_back(case: Case, message: Message) -> bool:
    told = any(
        d.type == "bounce.classified" and d.message == message.id and d.body.get("category") not in NOT_BACK
        for d in case.documents
    )
    return told or any(r.kind is ReceiptKind.BOUNCED for r in message.receipts)


def _not_yet(case: Case, waits: Sequence[Message]) -> Verdict:
    if case.waiting is not None:
        waiting = case.waiting
        if waiting.ended is not None:
            return _ended_meanwhile(waiting.ended, waiting)
        until = f" The next attempt is at {_clock(waiting.until)}." if waiting.until else ""
        why = (
            sentence_of(waiting.reason, waiting.detail) if waiting.reason is not Reason.NONE else "It is in the queue."
        )
        step = waiting.reason.text.next_step if waiting.reason is not Reason.NONE else "Wait: it is sent automatically."
        return Verdict("not_yet", f"It has not been sent yet. {why}{until}", step, waiting.reason, until=waiting.until)
    if case.lost and not waits:
        return Verdict(
            "no_trace",
            "It was requested, but delivery has no record of it: the trace ends between the two services.",
            "Check orders-notification's outbox and the dead letters, and redeliver what is stuck there.",
            lost_at="request",
        )
    reason = waits[0].latest.reason if waits else Reason.NONE
    why = f" {sentence_of(reason, waits[0].latest.detail)}" if waits and reason is not Reason.NONE else ""
    return Verdict("not_yet", f"It has not been sent yet; it is on its way.{why}", "Ask again in a minute.", reason)


def _ended_meanwhile(status: Status, waiting: Waiting) -> Verdict:
    """Return the verdict where delivery has recorded the outcome and history has not yet received the event."""
    if status is Status.SENT:
        return Verdict("sent", "It was sent a moment ago.", "Ask again in a minute for the full history.")
    if status is Status.UNKNOWN:
        sentence = f"It is not known whether it was sent. {sentence_of(waiting.reason, waiting.detail)}"
        return Verdict("unknown", sentence, waiting.reason.text.next_step, waiting.reason)
    return _refused(waiting.reason, waiting.detail)


def _unknown(case: Case, message: Message) -> Verdict:
    if (waiting := case.waiting) is not None and waiting.ended not in (None, Status.UNKNOWN):
        return _ended_meanwhile(waiting.ended, waiting)
    if waiting is not None and waiting.reason is Reason.VERIFYING:
        until = f" The provider is asked again at {_clock(waiting.until)}." if waiting.until else ""
        sentence = f"It is not known yet whether it was sent. {waiting.reason.text.sentence}{until}"
        return Verdict("unknown", sentence, waiting.reason.text.next_step, waiting.reason, until=waiting.until)
    last = message.latest
    reason = last.reason if last.reason is not Reason.NONE else Reason.TIMED_OUT
    sentence = f"It is not known whether it was sent. {sentence_of(reason, last.detail)}"
    return Verdict("unknown", sentence, reason.text.next_step, reason)


# ---- not sent


def _not_sent(case: Case) -> Verdict:
    if case.messages:
        # the last step decides: a plan that fell back to e-mail ended there, not with the push
        last = max(case.messages, key=lambda m: (m.latest.step, m.latest.at)).latest
        return _refused(last.reason, last.detail)
    return _refused(case.decisions[-1].reason, case.decisions[-1].detail)


def _refused(reason: Reason, detail: str | None) -> Verdict:
    return Verdict("not_sent", f"It was not sent. {sentence_of(reason, detail)}", reason.text.next_step, reason)


# ---- no trace


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
        sentence = f"The event arrived at {_clock(kept.at)} and was refused. {kept.sentence}"
        step = "Fix the event, its mapping or its schema, then replay the stored event."
        return Verdict("no_trace", sentence, step, lost_at="intake")
    sentence = f"Nothing about it ever arrived in {mode.word} mode."
    other = _OTHER_MODE[mode]
    step = f"{_SOURCES_HINT} Events sent with a {other} key are visible only to a {other} key (`--mode {other}`)."
    return Verdict("no_trace", sentence, step, lost_at="source")


def decide_without_address(mode: Mode) -> Verdict:
    """Return the verdict on a question about an address alone to which no message ever went."""
    sentence = f"No message was ever meant for this address in {mode.word} mode."
    step = "Ask by recipient key or order: that also finds what was refused before an address was chosen."
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
    last = events[-1]
    if last.requested:
        return Verdict("not_yet", "It was requested a moment ago.", "Ask again in a minute.", lost_at="delivery")
    return _refused(last.reason, last.detail)


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
