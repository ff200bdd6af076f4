"""From what delivery says to a fact: refusals inside the session, receipts afterwards."""

from collections.abc import Mapping, Sequence

from libs.contracts.delivery import Receipt, Rejection
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Channel, ReceiptKind
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.evidence import evidence_id
from services.bounce.domain.facts import Fact, of_text
from services.bounce.domain.sms import CATEGORY_BY_CODE
from services.bounce.handlers.deps import Bounce
from services.bounce.ports import Message, NewFact


async def record_rejections(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Refusals inside the SMTP session or by the SMS provider become facts, where they are final."""
    classifier = await deps.rulebook.current()
    facts = []
    for envelope in batch:
        for rejection in envelope.data.rejections:
            fact = fact_of_rejection(rejection, classifier)
            if fact is not None and fact.counts:
                facts.append(_of_rejection(envelope, rejection, fact))
    await deps.facts.record(facts)


def fact_of_rejection(rejection: Rejection, classifier: Classifier) -> Fact | None:
    """The fact in a final refusal; None for what says nothing about an address (push is tokens' own)."""
    if not rejection.final:
        return None
    if rejection.channel == Channel.EMAIL.word:
        codes = (rejection.reply_code, rejection.enhanced_code)
        return of_text(rejection.text, classifier, codes, source="session")
    if rejection.channel == Channel.SMS.word:
        return _fact_of_code(rejection.error, rejection.text)
    return None


def _fact_of_code(code: str | None, text: str) -> Fact | None:
    category = CATEGORY_BY_CODE.get((code or "").strip())
    return Fact(category, category == "unknown-user", None, None, text or f"error {code}") if category else None


def _of_rejection(envelope: Envelope, rejection: Rejection, fact: Fact) -> NewFact:
    return NewFact(
        evidence_id(rejection.message, rejection.attempt, fact.category),
        envelope.tenant,
        envelope.mode,
        rejection.at,
        fact,
        "session",
        rejection.address_hash,
        rejection.message,
        rejection.attempt,
        rejection.recipient,
    )


async def record_receipts(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Receipts that say bounced, complained or given up become facts. Who it was, delivery knows."""
    classifier = await deps.rulebook.current()
    found = [
        (envelope, receipt, fact)
        for envelope in batch
        for receipt in envelope.data.receipts
        if (fact := fact_of_receipt(receipt, classifier)) is not None and fact.counts
    ]
    missing = sorted({r.message for _, r, _ in found if r.address_hash is None or r.recipient is None})
    known = await deps.messages.lookup(missing) if missing else {}
    await deps.facts.record(
        [made for envelope, receipt, fact in found if (made := _of_receipt(envelope, receipt, fact, known))]
    )


def fact_of_receipt(receipt: Receipt, classifier: Classifier) -> Fact | None:
    """The fact in a receipt; None for deliveries, openings and clicks."""
    detail = receipt.detail or ""
    if receipt.kind == ReceiptKind.COMPLAINED.word:
        return Fact("complaint", True, None, None, detail or "reported as spam")
    if receipt.kind not in (ReceiptKind.BOUNCED.word, ReceiptKind.FAILED.word):
        return None
    code = next((word for word in detail.replace(":", " ").split() if word in CATEGORY_BY_CODE), None)
    if code:
        return _fact_of_code(code, detail)
    return of_text(detail, classifier, source="receipt") if receipt.kind == ReceiptKind.BOUNCED.word else None


def _of_receipt(envelope: Envelope, receipt: Receipt, fact: Fact, known: Mapping[str, Message]) -> NewFact | None:
    message = known.get(receipt.message)
    address_hash = receipt.address_hash or (message.address_hash if message else None)
    if address_hash is None:
        return None
    return NewFact(
        evidence_id(receipt.message, receipt.attempt, fact.category),
        envelope.tenant,
        envelope.mode,
        receipt.at,
        fact,
        "receipt",
        address_hash,
        receipt.message,
        receipt.attempt,
        receipt.recipient or (message.recipient if message else None),
    )


async def forget_recipients(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Erasure: mails and texts go, facts stay nameless; a hash goes on barring the address."""
    await deps.facts.forget([(envelope.tenant, envelope.mode, envelope.data.recipient) for envelope in batch])
