"""Amazon SES through SNS: notifications of an identity and published events, which differ in one field's name.

Sources: docs.aws.amazon.com/ses/latest/dg/notification-contents.html (`mail.source` is the envelope's MAIL FROM),
…/dg/event-publishing-retrieving-sns-contents.html, …/APIReference-V2/API_Complaint.html (a complaint with
OnAccountSuppressionList is not one: nothing was sent).
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from libs.contracts.outcomes import ReceiptKind
from libs.errors import FieldError
from libs.telemetry import get_logger
from services.delivery.adapters.vendors.reading import Said, enhanced, moment, own_id, read_each, words
from services.delivery.adapters.vendors.sns import Envelope, Fetch, Sns
from services.delivery.domain.callbacks import Callback, Opinion
from services.delivery.domain.mail_vendors import MailNews, Reading, WebhookKeys

log = get_logger(__name__)

# SES publishes this once when a configuration set gets its topic; it is not JSON
_GREETING = "Successfully validated SNS topic for Amazon SES event publishing."
# what it publishes once when an identity gets its topic; it is about no mail
_SUBSCRIBED = "AmazonSnsSubscriptionSucceeded"
_ON_ITS_LIST = frozenset({"OnAccountSuppressionList", "UnsubscribedRecipient"})
# bounceSubType → its category
_CATEGORIES = {
    "NoEmail": "unknown-user",
    "MailboxFull": "mailbox-full",
    "MessageTooLarge": "too-large",
    "ContentRejected": "content-rejected",
    "AttachmentRejected": "content-rejected",
    "CustomTimeoutExceeded": "expired",
}
_PERMANENT = {"Permanent": True, "Transient": False}
# complaintFeedbackType, the Feedback-Type of an ARF report (RFC 5965): all other types are complaints
_NO_COMPLAINT = frozenset({"not-spam", "auth-failure"})
_PLAIN = {
    "Delivery": ReceiptKind.DELIVERED,
    "Send": ReceiptKind.ACCEPTED,
    "Open": ReceiptKind.OPENED,
    "Click": ReceiptKind.CLICKED,
    "Reject": ReceiptKind.FAILED,
    "Rendering Failure": ReceiptKind.FAILED,
}
_ABOUT_MAILS = frozenset({*_PLAIN, "Bounce", "Complaint", "DeliveryDelay", "Subscription"})


class _Recipient(msgspec.Struct):
    emailAddress: str = ""
    status: str | None = None
    diagnosticCode: str | None = None


class _Mail(msgspec.Struct):
    source: str = ""
    destination: list[str] = []


class _Happened(msgspec.Struct):
    """The fields about the event itself, under the event's name; only those that we read."""

    timestamp: str | None = None
    bounceType: str | None = None
    bounceSubType: str | None = None
    bouncedRecipients: list[_Recipient] = []
    complaintSubType: str | None = None
    complaintFeedbackType: str | None = None
    delayType: str | None = None
    delayedRecipients: list[_Recipient] = []
    smtpResponse: str | None = None
    reason: str | None = None
    errorMessage: str | None = None


class _TopicPreference(msgspec.Struct):
    subscriptionStatus: str = ""


class _Preferences(msgspec.Struct):
    unsubscribeAll: bool = False
    topicSubscriptionStatus: list[_TopicPreference] = []


class _Subscription(msgspec.Struct):
    timestamp: str | None = None
    newTopicPreferences: _Preferences = msgspec.field(default_factory=_Preferences)


class _Event(msgspec.Struct):
    mail: _Mail | None = None
    notificationType: str = ""
    eventType: str = ""
    bounce: _Happened | None = None
    complaint: _Happened | None = None
    delivery: _Happened | None = None
    deliveryDelay: _Happened | None = None
    send: _Happened | None = None
    open: _Happened | None = None
    click: _Happened | None = None
    reject: _Happened | None = None
    failure: _Happened | None = None
    subscription: _Subscription | None = None


_decode = msgspec.json.Decoder(_Event).decode


class SesWebhooks:
    """Reads SNS's posts for the topics of a sender."""

    def __init__(self, fetch: Fetch) -> None:
        self._sns = Sns(fetch)

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """See the port. Confirms a subscription to one of the sender's topics."""
        message = await self._sns.verified(callback.body, keys.topics, now)
        if message.Type == "SubscriptionConfirmation":
            await self._sns.confirm(message)
            return Reading(ignored=1)
        if message.Type == "UnsubscribeConfirmation":
            log.warning("sns_unsubscribed", detail=message.TopicArn)
            return Reading(ignored=1)
        if message.Message.strip() == _GREETING:
            return Reading(ignored=1)
        reading = read_each([message.Message.encode()], _decode, lambda event: _translate(event, message, now))
        reading.unreadable = [FieldError("/Message", error.detail) for error in reading.unreadable]
        return reading


def header(path: str) -> str:
    """Return nothing: `mail.source` brings our return path back."""
    return ""


class _Told(NamedTuple):
    """What an event says, whatever its kind."""

    kind: ReceiptKind
    at: str | None
    text: str | None = None
    status: str | None = None
    opinion: Opinion | None = None


def _translate(event: _Event, message: Envelope, now: datetime) -> MailNews | Said:
    word = event.eventType or event.notificationType
    if event.mail is None:
        return _without_mail(word)
    told = _told(event, event.mail, word)
    if not isinstance(told, _Told):
        return told
    return MailNews(
        event_id=own_id(message.MessageId),
        paths=(event.mail.source,),
        kind=told.kind,
        at=moment(told.at or message.Timestamp, now),
        text=words(told.text),
        enhanced=enhanced(told.status),
        opinion=told.opinion,
    )


def _without_mail(word: str) -> Said:
    if word == _SUBSCRIBED:
        return Said.NOTHING
    if not word or word in _ABOUT_MAILS:
        raise ValueError("it names no mail")
    return Said.NEW_TO_US


def _told(event: _Event, mail: _Mail, word: str) -> _Told | Said:
    match word:
        case "Bounce":
            return _bounce(event.bounce or _Happened(), mail)
        case "Complaint":
            return _complaint(event.complaint or _Happened())
        case "DeliveryDelay":
            return _delay(event.deliveryDelay or _Happened(), mail)
        case "Subscription":
            return _subscription(event.subscription or _Subscription())
    if word not in _PLAIN:
        return Said.NEW_TO_US
    kind, happened = _PLAIN[word], _of_its_name(event, word)
    return _Told(kind, happened.timestamp, happened.smtpResponse or happened.reason or happened.errorMessage)


def _of_its_name(event: _Event, word: str) -> _Happened:
    name = "failure" if word == "Rendering Failure" else word.lower()
    return getattr(event, name) or _Happened()


def _bounce(bounce: _Happened, mail: _Mail) -> _Told:
    kind, sub_type = bounce.bounceType or "", bounce.bounceSubType or ""
    opinion = Opinion(f"{kind}/{sub_type}", _CATEGORIES.get(sub_type), _PERMANENT.get(kind))
    about = _about(bounce.bouncedRecipients, mail)
    if sub_type in _ON_ITS_LIST or "suppress" in sub_type.lower():  # it adds kinds of lists
        return _Told(ReceiptKind.DROPPED, bounce.timestamp, about.diagnosticCode, None, opinion)
    return _Told(ReceiptKind.BOUNCED, bounce.timestamp, about.diagnosticCode, about.status, opinion)


def _about(recipients: list[_Recipient], mail: _Mail) -> _Recipient:
    """Return the entry for the address we wrote to; a report may also name addresses behind an alias."""
    ours = {address.lower() for address in mail.destination}
    first = recipients[0] if recipients else _Recipient()
    return next((one for one in recipients if one.emailAddress.lower() in ours), first)


def _complaint(complaint: _Happened) -> _Told | Said:
    opinion = Opinion("/".join(filter(None, (complaint.complaintSubType, complaint.complaintFeedbackType))) or "abuse")
    if complaint.complaintSubType in _ON_ITS_LIST:
        return _Told(ReceiptKind.DROPPED, complaint.timestamp, opinion=opinion)
    if complaint.complaintFeedbackType in _NO_COMPLAINT:
        return Said.NOTHING
    return _Told(ReceiptKind.COMPLAINED, complaint.timestamp, opinion=opinion)


def _delay(delay: _Happened, mail: _Mail) -> _Told:
    about = _about(delay.delayedRecipients, mail)
    opinion = Opinion(delay.delayType or "DeliveryDelay", None, False)
    return _Told(ReceiptKind.DEFERRED, delay.timestamp, about.diagnosticCode, about.status, opinion)


def _subscription(changed: _Subscription) -> _Told | Said:
    """Handle the link that SES adds to mails of a contact list."""
    wishes = changed.newTopicPreferences
    if not wishes.unsubscribeAll and all(t.subscriptionStatus != "OptOut" for t in wishes.topicSubscriptionStatus):
        return Said.NOTHING
    return _Told(ReceiptKind.UNSUBSCRIBED, changed.timestamp)
