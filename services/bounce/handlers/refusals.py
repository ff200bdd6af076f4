"""From delivery's events to facts: refusals inside the session, receipts afterwards."""

from collections.abc import Iterator, Mapping, Sequence

from libs.contracts.delivery import Receipt, Rejection
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Channel, ReceiptKind
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.evidence import evidence_id
from services.bounce.domain.facts import Fact, Vendor, of_replies, of_text, reply_in
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.sms import CATEGORY_BY_CODE
from services.bounce.handlers.contacts import note_readings
from services.bounce.handlers.deps import Bounce
from services.bounce.ports import Message, NewFact, Sending

# kinds of receipts whose meaning is in the kind itself
_PLAIN: Mapping[str, tuple[str, str]] = {
    ReceiptKind.COMPLAINED.word: ("complaint", "reported as spam"),
    ReceiptKind.UNSUBSCRIBED.word: ("unsubscribe", "asked to be unsubscribed"),
    ReceiptKind.DROPPED.word: ("suppressed-by-provider", "on the provider's own list"),
}


async def record_rejections(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Turn final refusals inside the SMTP session or by the SMS provider into facts."""
    classifier = await deps.rulebook.current()
    said = [(envelope, rejection) for envelope in batch for rejection in envelope.data.rejections]
    found = facts_of_rejections([rejection for _, rejection in said], classifier)
    facts = [
        _of_rejection(*one, fact) for one, fact in zip(said, found, strict=True) if fact is not None and fact.counts
    ]
    await deps.facts.record(facts, deps.clock())


def facts_of_rejections(rejections: Sequence[Rejection], classifier: Classifier) -> list[Fact | None]:
    """Return the facts in final refusals; None for those that say nothing about an address (push belongs to tokens)."""
    mails = [one for one in rejections if one.final and one.channel == Channel.EMAIL.word]
    read = iter(of_replies([_reply(one, classifier.providers) for one in mails], classifier))
    return [_fact_of_rejection(one, read) if one.final else None for one in rejections]


def _fact_of_rejection(rejection: Rejection, read: Iterator[Fact]) -> Fact | None:
    """`read`: the facts in mail servers' replies, in order."""
    if rejection.channel == Channel.EMAIL.word:
        return next(read)
    if rejection.channel == Channel.SMS.word:
        return _fact_of_code(rejection.error, rejection.text)
    return None


def _reply(rejection: Rejection, providers: Providers) -> Reply:
    codes = (rejection.reply_code, rejection.enhanced_code)
    at = f"@{rejection.domain}" if rejection.domain else None  # the provider; the mailbox stays with delivery
    return reply_in(rejection.text, providers, codes, source="session", address=at)


def _fact_of_code(code: str | None, text: str) -> Fact | None:
    category = CATEGORY_BY_CODE.get((code or "").strip())
    if category is None:
        return None
    return Fact(category, category == "unknown-user", None, None, text or f"error {code}", provider="twilio")


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
        sending=Sending(rejection.sender, rejection.from_domain or "", envelope.data.communication or ""),
        domain=rejection.domain if fact.category == "bad-domain" else None,
    )


async def record_receipts(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Turn receipts that say bounced, complained or given up into facts. Delivery knows the address.

    Receipts that show a reader are recorded first: they speak against such a fact.
    """
    await note_readings(deps, batch)
    classifier = await deps.rulebook.current()
    found = [
        (envelope, receipt, fact)
        for envelope in batch
        for receipt in envelope.data.receipts
        if (fact := fact_of_receipt(receipt, classifier)) is not None and fact.counts
    ]
    known = await deps.messages.lookup(sorted({receipt.message for _, receipt, _ in found})) if found else {}
    facts = [made for envelope, receipt, fact in found if (made := _of_receipt(envelope, receipt, fact, known))]
    await deps.facts.record(facts, deps.clock())


def fact_of_receipt(receipt: Receipt, classifier: Classifier) -> Fact | None:
    """Return the fact in a receipt; None for deliveries, openings and clicks, and if the provider still tries."""
    detail = receipt.detail or ""
    if (plain := _PLAIN.get(receipt.kind)) is not None:
        category, words = plain
        return Fact(category, True, None, None, detail or words)
    if receipt.kind not in (ReceiptKind.BOUNCED.word, ReceiptKind.FAILED.word):
        return None
    code = next((word for word in detail.replace(":", " ").split() if word in CATEGORY_BY_CODE), None)
    if code and receipt.vendor_class is None:  # in a mail server's words such a number can mean anything
        return _fact_of_code(code, detail)
    return _bounced(receipt, detail, classifier) if receipt.kind == ReceiptKind.BOUNCED.word else None


def _bounced(receipt: Receipt, detail: str, classifier: Classifier) -> Fact:
    """Classify the server's words; if they say nothing, use the vendor's class."""
    fact = of_text(detail, classifier, (receipt.reply_code, receipt.enhanced_code), source="receipt")
    if receipt.vendor_permanent is not None and fact.reply_code is None and fact.enhanced is None:
        fact = fact._replace(permanent=receipt.vendor_permanent)
    if fact.category == "undetermined" and receipt.vendor_category in CATEGORIES:
        fact = fact._replace(category=receipt.vendor_category, text=fact.text or receipt.vendor_class or "")
    return fact


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
        sending=message.sending if message else Sending(),
        vendor=_vendor(receipt),
        erased=receipt.erased or (message is not None and message.erased),
    )


def _vendor(receipt: Receipt) -> Vendor | None:
    if receipt.vendor_class is None:
        return None
    category = receipt.vendor_category if receipt.vendor_category in CATEGORIES else None
    return Vendor(receipt.provider, receipt.vendor_class, category)


async def forget_recipients(deps: Bounce, batch: Sequence[Envelope]) -> None:
    """Erasure: delete mails and texts, make facts nameless; a hash still bars the address."""
    await deps.facts.forget([(e.tenant, e.mode, e.data.recipient, e.data.at) for e in batch])
