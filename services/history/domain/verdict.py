"""Owns the verdict: turns everything known about a case into one answer in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.contracts.outcomes import ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.came_back import NOT_BACK, meaning, told
from services.history.domain.case import Case, Waiting
from services.history.domain.chain import sentence_of
from services.history.domain.facts import Document, Message
from services.history.domain.unanswered import (
    AND_THEN,
    accepted_attempts,
    asked_about,
    reason_of,
    unanswered,
    was_accepted,
    why_again,
)

_WAITS = frozenset({Status.PENDING, Status.SENDING})


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
    sent = [message for message in case.messages if was_accepted(message)]
    if sent:
        return _repeated(case) or _bounced(case, sent) or _sent(case, sent)
    waits = [message for message in case.messages if message.latest.status in _WAITS]
    if waits or (not case.messages and any(d.requested for d in case.decisions)):
        return _not_yet(case, waits)
    unknown = [message for message in case.messages if unanswered(message)]
    if unknown:
        return _unknown(case, unknown[0])
    return _not_sent(case)


# ---- sent


def _sent(case: Case, sent: Sequence[Message]) -> Verdict:
    channels = ", ".join(sorted({m.latest.channel.word for m in sent if m.latest.channel is not None})) or "a channel"
    seen = _best_receipt(case, sent)
    back = sum(_came_back(case, message) for message in sent)
    partly = f"It bounced from {back} of {len(sent)} addresses{meaning(case, barred=False)[0]}."
    proof = f" {seen or (partly if back else 'No delivery or bounce has been reported since.')}"
    asked = asked_about(sent)
    if asked is not Reason.NONE:
        proof = f" {asked.text.sentence}{AND_THEN.get(asked, '')}{proof}"
    sentence = f"It was sent: the provider accepted it by {channels} at {clock_of(_accepted_at(sent))}.{proof}"
    return Verdict("sent", sentence + _others(case, sent) + _same_text(case), _after_sent(seen), asked)


def _accepted_at(sent: Sequence[Message]) -> datetime:
    """Return when the provider accepted the first of them, or the time of the receipt if only that proves it."""
    ends = [e.at for m in sent for e in m.ends.values() if e.status is Status.SENT]
    return min(ends or [r.at for m in sent for r in m.receipts])


def _others(case: Case, sent: Sequence[Message]) -> str:
    """Describe the other addresses: unknown and waiting ones are not counted as having got nothing."""
    others = [message for message in case.messages if message not in sent]
    waiting = sum(message.latest.status in _WAITS for message in others)
    unknown = sum(bool(unanswered(m)) for m in others if m.latest.status not in _WAITS)
    nothing = len(others) - waiting - unknown
    return "".join(
        words.format(many=many, es="es" if many > 1 else "")
        for many, words in (
            (nothing, " {many} other address{es} got nothing."),
            (unknown, " For {many} other address{es} it is not known whether it was sent."),
            (waiting, " It is still on its way to {many} other address{es}."),
        )
        if many
    )


_STILL_TRIED = "The provider could not deliver it yet and keeps trying."


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
        (ReceiptKind.DEFERRED, _STILL_TRIED),
    ):
        if kind in kinds:
            return text
    return ""


_TOLD_BY_MAIL = {"complaint": ReceiptKind.COMPLAINED, "unsubscribe": ReceiptKind.UNSUBSCRIBED}


def _after_sent(seen: str) -> str:
    if "spam" in seen:
        return Reason.SUPPRESSED_COMPLAINT.text.next_step
    if seen == _STILL_TRIED:
        return "Wait: the provider keeps trying and reports the outcome."
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
        if proven and unanswered(message):
            sentence = f"It may have arrived twice. {why_again(message)}"
            return Verdict("sent_twice", sentence, _LEAVE, reason_of(message), certain=False)
    return _two_notifications(case)


_LEAVE = "If a duplicate is worse than a loss for this communication, set its on_unknown to `leave` or `verify`."


def _two_notifications(case: Case) -> Verdict | None:
    sent = [accepted for each in (case.messages, *case.twins) if (accepted := [*filter(was_accepted, each)])]
    if len(sent) < 2:
        return None
    times = sorted(_accepted_at(accepted) for accepted in sent)
    causes = len({accepted[0].cause_id for accepted in sent})
    sentence = (
        f"It was sent {len(times)} times, at {' and '.join(clock_of(at) for at in times)}, because {causes} different "
        "events requested the same communication about the same order."
    )
    step = "Check whether the shop sends one fact under two event ids; a repeat of the same id is recognised."
    return Verdict("sent_twice", sentence, step, Reason.NONE)


# ---- bounced, not yet, unknown

_ASK = (
    "Ask the customer whether it arrived. It is not sent again by itself, although a receipt may still settle it; if "
    "it did not arrive, the shop can send the event again with another id."
)


def _bounced(case: Case, sent: Sequence[Message]) -> Verdict | None:
    if len(sent) != sum(_came_back(case, message) for message in sent):
        return None
    barred = _is_barred(case)
    follows = " The address has been suppressed since." if barred else ""
    because, step = meaning(case, barred=barred)
    sentence = f"It was sent at {clock_of(_accepted_at(sent))}, but bounced{because}.{follows}"
    return Verdict("bounced", sentence, step, Reason.SUPPRESSED_BOUNCE if barred else Reason.NONE)


def _is_barred(case: Case) -> bool:
    """Whether a suppression among the case's events is still active: one that was lifted since does not count."""
    newest: dict[object, Document] = {}
    for document in case.documents:
        if document.type == "suppression.changed":
            of = document.body.get("suppression_id")
            if of not in newest or _version(document) >= _version(newest[of]):
                newest[of] = document
    return any(document.body.get("active") for document in newest.values())


def _version(document: Document) -> int:
    return int(document.body.get("version") or 0)


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
        until = f" The next attempt is at {clock_of(waiting.until)}." if waiting.until else ""
        why = _why_it_waits(waiting)
        step = waiting.reason.text.next_step if waiting.reason is not Reason.NONE else "Wait: it is sent automatically."
        said, certain = _so_far(waits)
        return Verdict("not_yet", f"{said} {why}{until}", step, waiting.reason, certain, waiting.until)
    if case.lost and not waits:
        return Verdict(
            "no_trace",
            "It was requested, but delivery has no record of it: the trace ends between the two services.",
            "Check orders-notification's outbox and the dead letters, and redeliver what is stuck there.",
            lost_at="request",
        )
    reason = waits[0].latest.reason if waits else Reason.NONE
    why = f" {sentence_of(reason, waits[0].latest.detail)}" if waits and reason is not Reason.NONE else ""
    said, certain = _so_far(waits)
    return Verdict("not_yet", f"{said} It is on its way.{why}", "Ask again in a minute.", reason, certain)


def _why_it_waits(waiting: Waiting) -> str:
    if waiting.reason is Reason.HELD and waiting.detail:
        return waiting.detail  # names the hold, its author and note
    return sentence_of(waiting.reason, waiting.detail) if waiting.reason is not Reason.NONE else "It is in the queue."


def _so_far(waits: Sequence[Message]) -> tuple[str, bool]:
    """Describe the attempts before the waiting one; return whether that is certain."""
    silent = next((attempts[-1] for message in waits if (attempts := unanswered(message))), None)
    if silent is None:
        return "It has not been sent yet.", True
    return f"Attempt {silent} got no answer and may have arrived; another attempt follows.", False


def _ended_meanwhile(status: Status, waiting: Waiting) -> Verdict:
    """Return the verdict where delivery has recorded the outcome and history has not yet received the event."""
    if status is Status.SENT:
        return Verdict("sent", "It was sent a moment ago.", "Ask again in a minute for the full history.")
    if status is Status.UNKNOWN:
        sentence = f"It is not known whether it was sent. {sentence_of(waiting.reason, waiting.detail)}"
        return Verdict("unknown", sentence, waiting.reason.text.next_step, waiting.reason)
    return refused(waiting.reason, waiting.detail)


def _unknown(case: Case, message: Message) -> Verdict:
    if (waiting := case.waiting) is not None and waiting.ended not in (None, Status.UNKNOWN):
        return _ended_meanwhile(waiting.ended, waiting)
    if waiting is not None and waiting.reason is Reason.VERIFYING:
        until = f" The provider is asked again at {clock_of(waiting.until)}." if waiting.until else ""
        sentence = f"It is not known yet whether it was sent. {waiting.reason.text.sentence}{until}"
        return Verdict("unknown", sentence, waiting.reason.text.next_step, waiting.reason, until=waiting.until)
    attempt = unanswered(message)[-1]
    open_, last = message.ends[attempt], message.latest
    reason = open_.reason if open_.reason is not Reason.NONE else Reason.TIMED_OUT
    sentence = f"It is not known whether it was sent. {sentence_of(reason, open_.detail)}"
    if last.attempt > attempt:
        sentence += f" Attempt {last.attempt}, after it, was not sent: {_lower(sentence_of(last.reason, last.detail))}"
    given_up = waiting is not None and waiting.ended is Status.UNKNOWN
    return Verdict("unknown", sentence, _ASK if given_up else reason.text.next_step, reason)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


# ---- not sent


def _not_sent(case: Case) -> Verdict:
    if case.messages:
        # the last step decides: a plan that fell back to e-mail ended there, not with the push
        last = max(case.messages, key=lambda m: (m.latest.step, m.latest.at)).latest
        return refused(last.reason, last.detail)
    return refused(case.decisions[-1].reason, case.decisions[-1].detail)


def refused(reason: Reason, detail: str | None) -> Verdict:
    """Return the verdict on a refusal by one of our rules, or by the provider."""
    return Verdict("not_sent", f"It was not sent. {sentence_of(reason, detail)}", reason.text.next_step, reason)


def clock_of(at: datetime) -> str:
    """Return a moment as sentences show it."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
