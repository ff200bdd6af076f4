"""Handling mail vendors' webhooks: verify, translate (the vendor's reader), find the message, then apply like any
receipt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prometheus_client import Counter

from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.errors import BadRequest, Invalid, Unauthorized
from libs.privacy import redacted
from libs.telemetry import get_logger
from services.delivery.domain.callbacks import Callback, Opinion, ReceiptNews
from services.delivery.domain.mail_vendors import MailNews, Reading, Vendor, WebhookKeys
from services.delivery.domain.outbound import SmtpAccount
from services.delivery.domain.receiving import GIVEN_UP
from services.delivery.handlers.receiving import Receiving, Whose

log = get_logger(__name__)

_events = Counter(
    "depesche_delivery_webhook_events", "Events of mail vendors' webhooks, by outcome", ["source", "outcome"]
)
_AT_ONCE = 500  # receipts per transaction
_CLASS_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of a webhook's events. `unknown_messages`: mails of another tenant or mode than this sender's."""

    new: int = 0
    repeated: int = 0
    unknown_messages: int = 0
    ignored: int = 0


async def receive_webhook(deps: Receiving, vendor: Vendor, callback: Callback, whose: Whose) -> Taken:
    """Handle events of one vendor about one sender's mails; repeated events change nothing.

    Raises Unauthorized, also if there is no such sender, so that a stranger learns nothing from the difference.
    Raises Invalid for unreadable events, after all others have been applied."""
    try:
        reading = await _read(deps, vendor, callback, whose)
    except (Unauthorized, BadRequest, Invalid) as error:
        _events.labels(vendor.value, "refused" if isinstance(error, Unauthorized) else "malformed").inc()
        log.warning("webhook_refused", provider=vendor.value, sender=whose.number, reason=error.slug)
        raise
    found = [made for news in reading.news if (made := _receipt(deps, vendor, whose, news)) is not None]
    known = new = 0
    for start in range(0, len(found), _AT_ONCE):
        received = await deps.receipts.receive(found[start : start + _AT_ONCE], (whose.tenant, whose.mode))
        known, new = known + received.known, new + received.new
    taken = Taken(new, known - new, len(reading.news) - known, reading.ignored + reading.new_to_us)
    _count(vendor, whose, taken, reading)
    if reading.unreadable:
        raise Invalid.many(reading.unreadable)
    return taken


async def _read(deps: Receiving, vendor: Vendor, callback: Callback, whose: Whose) -> Reading:
    key = (whose.tenant, whose.mode, Channel.EMAIL, whose.number)
    sender = (await deps.senders.get([key])).get(key)
    account = sender.account if sender else None
    if not isinstance(account, SmtpAccount) or account.vendor is not vendor:
        raise Unauthorized("The webhook cannot be verified: check its URL, and the keys in the sender's account.")
    now = deps.clock()
    keys = WebhookKeys(account.webhook_keys, account.webhook_topics)
    reading = await deps.vendors[vendor].read(callback, keys, now)
    if reading.nonce and not await deps.nonces.bind(
        f"{vendor.value}:{_account(whose)}", reading.nonce, callback.body, now
    ):
        raise Unauthorized("The webhook's token was used before with another body.")
    return reading


def _receipt(deps: Receiving, vendor: Vendor, whose: Whose, news: MailNews) -> ReceiptNews | None:
    """Return the receipt; None for a mail without a return path that we signed."""
    path = next((verp for place in news.paths if (verp := deps.return_path.read(place)) is not None), None)
    if path is None:
        return None
    opinion = news.opinion
    return ReceiptNews(
        provider=vendor.value,
        # ids are unique within the vendor account only: another tenant's account could use the same
        event_id=f"{_account(whose)}:{news.event_id}",
        notification_id=path.notification_id,
        address_id=path.address_id,
        attempt=path.attempt,
        kind=news.kind,
        at=news.at,
        reason=Reason.PROVIDER_GAVE_UP if news.kind in GIVEN_UP else Reason.NONE,
        detail=redacted(news.text) if news.text else None,
        reply_code=news.reply_code,
        enhanced=news.enhanced,
        opinion=replace(opinion, vendor_class=_plain(opinion)) if opinion else None,
    )


def _plain(opinion: Opinion) -> str:
    return redacted(opinion.vendor_class.replace("\0", ""))[:_CLASS_LIMIT]


def _account(whose: Whose) -> str:
    return f"{whose.tenant}.{whose.mode.word}.{whose.number}"


def _count(vendor: Vendor, whose: Whose, taken: Taken, reading: Reading) -> None:
    unreadable = len(reading.unreadable)
    counts: Sequence[tuple[str, int]] = (
        ("new", taken.new),
        ("repeated", taken.repeated),
        ("unknown_message", taken.unknown_messages),
        ("ignored", reading.ignored),
        ("new_to_us", reading.new_to_us),
        ("malformed", unreadable),
    )
    for outcome, count in counts:
        if count:
            _events.labels(vendor.value, outcome).inc(count)
    strange = taken.unknown_messages
    if strange:
        log.info("webhook_unknown_messages", provider=vendor.value, sender=whose.number, count=strange)
    if unreadable:
        detail = reading.unreadable[0].detail
        log.warning("webhook_malformed", provider=vendor.value, sender=whose.number, count=unreadable, detail=detail)
