"""Owns the chain of facts: each has a time, a source and a sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.contracts.outcomes import ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.facts import Decision, Document, Message, Receipt, Rejection, Transition

_KEPT = (Reason.SCHEMA_INVALID, Reason.MAPPING_FAILED)  # intake refused and stored it


@dataclass(frozen=True, slots=True)
class Fact:
    """One link. `kind`: decision, transition, receipt, rejection or the event's type."""

    at: datetime
    source: str
    kind: str
    text: str
    message: str | None = None


def sentence_of(reason: Reason, detail: str | None) -> str:
    """Return the reason's sentence, completed with the detail where there is one."""
    sentence = reason.text.sentence
    if "{detail}" in sentence:
        return sentence.format(detail=_ended(detail)) if detail else sentence.replace(": {detail}", ".")
    return sentence


def _ended(detail: str) -> str:
    text = detail.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def of_decisions(decisions: Iterable[Decision]) -> list[Fact]:
    """Return how each event arrived, once per event, and what each communication decided."""
    facts: list[Fact] = []
    told = set()
    for decision in decisions:
        if decision.cause_id not in told:
            told.add(decision.cause_id)
            facts.append(Fact(decision.at, "orders-notification", "event", _came_in(decision)))
        facts.append(Fact(decision.at, "orders-notification", "decision", _decided(decision)))
    return facts


def _came_in(decision: Decision) -> str:
    event = f"Event {decision.event_id} ({decision.event_type} from {decision.event_source})"
    if not decision.event_id:
        event = f"A delivery to {decision.event_source}"  # that could not be parsed
    order = f" about {decision.subject}" if decision.subject else ""
    return f"{event}{order} {'arrived and was stored' if decision.reason in _KEPT else 'was accepted'}."


def _decided(decision: Decision) -> str:
    who = f"{decision.communication}: " if decision.communication else ""
    if decision.requested:
        return f"{who}the notification was requested."
    return f"{who}{sentence_of(decision.reason, decision.detail)}"


def of_message(message: Message) -> list[Fact]:
    """Return every transition, refusal and receipt of a message."""
    facts = [Fact(t.at, "delivery", "transition", _moved(t), message.id) for t in message.transitions]
    facts += [Fact(r.at, "provider", "rejection", _refused(r), message.id) for r in message.rejections]
    facts += [Fact(r.at, r.provider, "receipt", _came_back(r), message.id) for r in message.receipts]
    return facts


def _moved(transition: Transition) -> str:
    where = f" by {transition.channel.word}" if transition.channel is not None else ""
    try_ = f" (attempt {transition.attempt})" if transition.attempt > 1 else ""
    why = "" if transition.reason is Reason.NONE else f" {sentence_of(transition.reason, transition.detail)}"
    match transition.status:
        case Status.SENT:
            reference = f" under {transition.provider_ref}" if transition.provider_ref else ""
            return f"Accepted by the provider{where}{reference}{try_}.{why}"
        case Status.SENDING:
            return f"Handed to the provider{where}{try_}."
        case Status.PENDING:
            return f"Put back for another attempt{try_}.{why}"
        case Status.UNKNOWN:
            return f"No answer{where}{try_}: it is not known whether the provider accepted it.{why}"
        case Status.FAILED:
            return f"Failed{where}{try_}.{why}"
        case Status.SKIPPED | Status.SUPPRESSED:
            return f"Not sent{where}.{why}"


def _refused(rejection: Rejection) -> str:
    code = rejection.error or ""
    said = f"{code}: {rejection.text}" if code and code not in rejection.text else rejection.text or code
    return f"The provider refused attempt {rejection.attempt}{' permanently' if rejection.final else ''}: {said}"


_RECEIPTS: dict[ReceiptKind, str] = {
    ReceiptKind.DELIVERED: "Delivered to the device or mailbox.",
    ReceiptKind.BOUNCED: "It bounced.",
    ReceiptKind.COMPLAINED: "The customer reported it as spam.",
    ReceiptKind.OPENED: "The customer opened it.",
    ReceiptKind.CLICKED: "The customer clicked a link in it.",
    ReceiptKind.CONVERTED: "The customer acted on it.",
    ReceiptKind.ACCEPTED: "The provider confirmed that it accepted it.",
    ReceiptKind.FAILED: "The provider gave up on it.",
    ReceiptKind.UNSUBSCRIBED: "The customer unsubscribed.",
    ReceiptKind.DEFERRED: "The provider could not deliver it yet and keeps trying.",
    ReceiptKind.DROPPED: "The provider did not send it: the address is on its own suppression list.",
}


def _came_back(receipt: Receipt) -> str:
    try_ = f" (attempt {receipt.attempt})" if receipt.attempt > 1 else ""
    return f"{_RECEIPTS[receipt.kind]}{f' {receipt.detail}' if receipt.detail else ''}{try_}"


def of_document(document: Document) -> Fact:
    """Return one sentence for any other event."""
    return Fact(document.at, _source(document), document.type, _told(document), document.message)


def _source(document: Document) -> str:
    publishers = {"bounce": "bounce", "suppression": "bounce", "hold": "delivery", "reply": "delivery"}
    return publishers.get(document.type.partition(".")[0], document.actor or "tokens")


def _told(document: Document) -> str:
    body = document.body
    note = f" Note: {body['note']}" if body.get("note") else ""
    match document.type:
        case "bounce.classified":
            said = f" The server said: {body['text']}" if body.get("text") else ""
            what = "The address was refused" if body.get("origin") == "session" else "It bounced"
            return f"{what}: {body.get('category')}.{said}"
        case "suppression.changed":
            what = "everything" if body.get("scope") == "all" else "marketing"
            return f"The address {'is suppressed for' if body.get('active') else 'may be used again for'} {what}.{note}"
        case "action.recorded":
            return f"{document.actor} performed {document.action} on {document.object}.{note}"
        case "device.retired":
            return f"A device was retired: {body.get('why')}"
        case "recipient.changed":
            return f"The customer's record changed: {', '.join(body.get('fields') or ())}.{note}"
        case "hold.placed" | "hold.lifted":
            verb = "stopped" if document.type == "hold.placed" else "went on"
            return f"Sending for {body.get('kind')} {body.get('target')} {verb}.{note}"
        case "reply.received":
            return f"The customer replied by {body.get('channel')}: {body.get('text')}"
        case _:
            return f"{document.type}.{note}"


def in_order(facts: Sequence[Fact]) -> list[Fact]:
    """Sort facts by time; facts of one moment stay in the given order."""
    return sorted(facts, key=lambda fact: fact.at)
