"""The mail vendors' side of their webhooks, faked with our own keys: what they post, signed as they sign it."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from services.delivery.adapters.vendors.sns import Envelope, string_to_sign
from services.delivery.domain.mail_vendors import Vendor, WebhookKeys

# the events that each vendor reports about a mail; a sender raises KeyError for an event its vendor lacks
HAPPENINGS = (
    "hard", "soft", "block", "complaint", "unsubscribe", "delivered", "deferred", "opened", "clicked", "dropped",
    "accepted", "nothing", "new",
)  # fmt: skip
WORDS = "550 5.1.1 <kim@customer.example>: Recipient address rejected: User unknown"


@dataclass(frozen=True)
class Post:
    headers: dict[str, str]
    body: bytes


class WebhookSender(Protocol):
    """A vendor that posts webhooks about mails which carry `path`, our signed return path."""

    vendor: Vendor

    @property
    def account(self) -> dict[str, Any]:
        """The sender account's settings for this vendor."""
        ...

    def event(self, what: str, path: str, at: datetime) -> Any:
        """Build one event in the vendor's format, with an id of its own."""
        ...

    def post(self, events: list[Any], at: datetime) -> Post:
        """Build the request that posts the events at that moment."""
        ...


def keys_of(sender: WebhookSender) -> WebhookKeys:
    account = sender.account
    return WebhookKeys(tuple(account.get("webhook_keys", ())), tuple(account.get("webhook_topics", ())))


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Amazon:
    """Amazon's side of SNS: a key, its certificate and the URL that serves it. Records what was fetched."""

    def __init__(self, region: str = "eu-central-1", valid: timedelta = timedelta(days=3_650)) -> None:
        self.region = region
        self.valid = valid
        self.certificate_url = f"https://sns.{region}.amazonaws.com/SimpleNotificationService-{uuid4().hex}.pem"
        self.fetched: list[str] = []

    @cached_property
    def key(self) -> rsa.RSAPrivateKey:
        """Made when first asked for: it takes a tenth of a second, and every test process imports this file."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @cached_property
    def pem(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        start = datetime(2020, 1, 1, tzinfo=UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + self.valid)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.pem

    def signed(self, fields: dict[str, Any]) -> dict[str, Any]:
        whole = {"SigningCertURL": self.certificate_url, "SignatureVersion": "2", "Signature": ""} | fields
        algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}[whole["SignatureVersion"]]()
        text = string_to_sign(Envelope(**{name: whole[name] for name in whole if name in Envelope.__struct_fields__}))
        return whole | {"Signature": base64.b64encode(self.key.sign(text, padding.PKCS1v15(), algorithm)).decode()}


@dataclass
class Ses:
    amazon: Amazon = field(default_factory=Amazon)
    version: str = "2"
    vendor = Vendor.SES

    @property
    def topic(self) -> str:
        return f"arn:aws:sns:{self.amazon.region}:123456789012:mail-events"

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "ses", "webhook_topics": [self.topic]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        mail = {"source": path, "messageId": "0107018f-ses", "destination": ["kim@customer.example"]}
        name, body = {
            "hard": ("Bounce", self._bounce("Permanent", "NoEmail", "5.1.1", f"smtp; {WORDS}")),
            "soft": ("Bounce", self._bounce("Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 over quota")),
            "block": ("Bounce", self._bounce("Transient", "ContentRejected", "5.7.1", "smtp; 554 5.7.1 spam")),
            "dropped": ("Bounce", self._bounce("Permanent", "OnAccountSuppressionList", None, "on the list")),
            "complaint": ("Complaint", {"complaintFeedbackType": "abuse", "complaintSubType": None}),
            "unsubscribe": ("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}),
            "delivered": ("Delivery", {"smtpResponse": "250 2.6.0 accepted"}),
            "deferred": ("DeliveryDelay", {"delayType": "MailboxFull", "delayedRecipients": []}),
            "opened": ("Open", {"userAgent": "a mail program"}),
            "clicked": ("Click", {"link": "https://shop.example/"}),
            "accepted": ("Send", {}),
            "nothing": ("Complaint", {"complaintFeedbackType": "not-spam"}),
            "new": ("Teleported", {}),
        }[what]
        key = {"DeliveryDelay": "deliveryDelay"}.get(name, name.lower())
        return {"eventType": name, "mail": mail, key: {"timestamp": stamp(at), **body}}

    def post(self, events: list[Any], at: datetime) -> Post:
        [event] = events
        return self.message(json.dumps(event), at)

    def message(self, text: str, at: datetime, **changes: Any) -> Post:
        fields = {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": self.topic,
            "Subject": "Amazon SES Email Event Notification",
            "Message": text,
            "Timestamp": stamp(at),
            "SignatureVersion": self.version,
        }
        signed = self.amazon.signed(fields | changes)
        headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": str(signed["Type"])}
        return Post(headers, json.dumps(signed).encode())

    def confirmation(self, at: datetime, url: str | None = None, **changes: Any) -> Post:
        query = f"Action=ConfirmSubscription&TopicArn={self.topic}&Token=t0ken"
        default = f"https://sns.{self.amazon.region}.amazonaws.com/?{query}"
        fields = {"Type": "SubscriptionConfirmation", "Token": "t0ken", "Subject": None, "SubscribeURL": url or default}
        return self.message("You have chosen to subscribe.", at, **(fields | changes))

    @staticmethod
    def _bounce(kind: str, sub: str, status: str | None, said: str) -> dict[str, Any]:
        about = {"emailAddress": "kim@customer.example", "status": status, "diagnosticCode": said, "action": "failed"}
        return {"bounceType": kind, "bounceSubType": sub, "feedbackId": "f-1", "bouncedRecipients": [about]}
