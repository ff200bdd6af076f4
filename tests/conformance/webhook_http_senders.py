"""Fake SendGrid, Mailgun, Postmark, SparkPost and Brevo senders with our own keys; payloads follow their
documentation."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.delivery.domain.mail_vendors import Vendor
from tests.conformance.webhook_senders import WORDS, Post, stamp

JSON = {"content-type": "application/json"}


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def local(path: str) -> str:
    """Our header as the vendor returns it."""
    return path.partition("@")[0]


@dataclass
class SendGrid:
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    vendor = Vendor.SENDGRID

    @property
    def public(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return base64.b64encode(self.key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "sendgrid", "webhook_keys": [self.public]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        fields = {
            "hard": {"event": "bounce", "type": "bounce", "reason": WORDS, "status": "5.1.1",
                     "bounce_classification": "Invalid Address"},
            "soft": {"event": "bounce", "type": "blocked", "reason": "452 4.2.2 mailbox full", "status": "4.2.2"},
            "block": {"event": "bounce", "type": "blocked", "reason": "554 5.7.1 listed",
                      "bounce_classification": "Reputation"},
            "dropped": {"event": "dropped", "reason": "Bounced Address"},
            "complaint": {"event": "spamreport"},
            "unsubscribe": {"event": "unsubscribe"},
            "delivered": {"event": "delivered", "response": "250 OK"},
            "deferred": {"event": "deferred", "response": "421 4.7.0 later", "attempt": "5"},
            "opened": {"event": "open", "useragent": "a mail program"},
            "clicked": {"event": "click", "url": "https://shop.example/"},
            "accepted": {"event": "processed"},
            "nothing": {"event": "open", "sg_machine_open": True},
            "new": {"event": "teleported"},
        }[what]  # fmt: skip
        base = {"sg_event_id": uuid4().hex, "timestamp": seconds(at), "email": "kim@customer.example"}
        return {**base, "depesche": local(path), **fields}

    def post(self, events: list[Any], at: datetime) -> Post:
        return self.signed(json.dumps(events).encode(), at)

    def signed(self, body: bytes, at: datetime) -> Post:
        timestamp = str(seconds(at))
        signature = self.key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return Post(
            {
                **JSON,
                "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
                "x-twilio-email-event-webhook-timestamp": timestamp,
            },
            body,
        )


@dataclass
class Mailgun:
    key: str = "key-of-the-webhooks-0123456789abcdef"
    vendor = Vendor.MAILGUN

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "mailgun", "webhook_keys": [self.key]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        status = {"code": 550, "message": WORDS, "enhanced-code": "5.1.1"}
        fields: dict[str, Any] = {
            "hard": {"event": "failed", "severity": "permanent", "reason": "bounce", "delivery-status": status},
            "soft": {"event": "failed", "severity": "permanent", "reason": "old",
                     "delivery-status": {"code": 452, "message": "452 4.2.2 mailbox full"}},
            "block": {"event": "failed", "severity": "permanent", "reason": "generic",
                      "delivery-status": {"code": 554, "message": "554 5.7.1 listed"}},
            "dropped": {"event": "failed", "severity": "permanent", "reason": "suppress-bounce",
                        "delivery-status": {"code": 605, "message": "", "description": "Not delivering"}},
            "complaint": {"event": "complained"},
            "unsubscribe": {"event": "unsubscribed"},
            "delivered": {"event": "delivered", "delivery-status": {"code": 250, "message": "OK"}},
            "deferred": {"event": "failed", "severity": "temporary", "reason": "generic",
                         "delivery-status": {"code": 421, "message": "421 4.7.0 later"}},
            "opened": {"event": "opened"},
            "clicked": {"event": "clicked", "url": "https://shop.example/"},
            "accepted": {"event": "accepted"},
            "nothing": {"event": "stored"},
            "new": {"event": "teleported"},
        }[what]  # fmt: skip
        base = {"id": uuid4().hex[:22], "timestamp": at.timestamp(), "recipient": "kim@customer.example"}
        return {**base, "user-variables": {"depesche": local(path)}, **fields}

    def post(self, events: list[Any], at: datetime) -> Post:
        [event] = events
        return Post(dict(JSON), json.dumps({"signature": self.signature(at), "event-data": event}).encode())

    def signature(self, at: datetime, token: str | None = None) -> dict[str, str]:
        token, timestamp = token or (uuid4().hex + uuid4().hex)[:50], str(seconds(at))
        digest = hmac.new(self.key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
        return {"timestamp": timestamp, "token": token, "signature": digest}


def basic(credentials: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}


@dataclass
class Postmark:
    credentials: str = "postmark:a secret of some length"
    vendor = Vendor.POSTMARK

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "postmark", "webhook_keys": [self.credentials]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        base: dict[str, Any] = {"MessageID": str(uuid4()), "Metadata": {"depesche": local(path)}}
        bounces = {
            "hard": ("HardBounce", f"smtp;{WORDS}"),
            "soft": ("SoftBounce", "smtp;452 4.2.2 mailbox full"),
            "block": ("Blocked", "smtp;554 5.7.1 listed"),
            "dropped": ("ManuallyDeactivated", ""),
            "deferred": ("Transient", "smtp;421 4.7.0 later"),
            "nothing": ("AutoResponder", "I am away"),
            "new": ("Teleported", ""),
        }
        if what in bounces:
            kind, details = bounces[what]
            number = uuid4().int >> 65
            return base | {"RecordType": "Bounce", "ID": number, "Type": kind, "Details": details,
                           "BouncedAt": stamp(at), "Email": "kim@customer.example"}  # fmt: skip
        return base | {
            "complaint": {"RecordType": "SpamComplaint", "ID": uuid4().int >> 65, "BouncedAt": stamp(at)},
            "unsubscribe": {"RecordType": "SubscriptionChange", "SuppressSending": True, "Origin": "Recipient",
                            "SuppressionReason": "ManualSuppression", "ChangedAt": stamp(at)},
            "delivered": {"RecordType": "Delivery", "DeliveredAt": stamp(at), "Details": "250 OK"},
            "opened": {"RecordType": "Open", "ReceivedAt": stamp(at), "FirstOpen": True},
            "clicked": {"RecordType": "Click", "ReceivedAt": stamp(at), "OriginalLink": "https://shop.example/"},
        }[what]  # fmt: skip

    def post(self, events: list[Any], at: datetime) -> Post:
        [event] = events
        return Post({**JSON, **basic(self.credentials)}, json.dumps(event).encode())


@dataclass
class SparkPost:
    token: str = "a-token-of-some-length"
    vendor = Vendor.SPARKPOST

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "sparkpost", "webhook_keys": [self.token]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        fields = {
            "hard": {"type": "bounce", "bounce_class": "10", "raw_reason": WORDS, "error_code": "550"},
            "soft": {"type": "out_of_band", "bounce_class": "22", "raw_reason": "452 4.2.2 mailbox full"},
            "block": {"type": "bounce", "bounce_class": "51", "raw_reason": "554 5.7.1 listed"},
            "dropped": {"type": "policy_rejection", "raw_reason": "550 5.7.1 recipient address suppressed"},
            "complaint": {"type": "spam_complaint", "fbtype": "abuse"},
            "unsubscribe": {"type": "list_unsubscribe"},
            "delivered": {"type": "delivery"},
            "deferred": {"type": "delay", "bounce_class": "70", "raw_reason": "421 4.7.0 later"},
            "opened": {"type": "open"},
            "clicked": {"type": "click", "target_link_url": "https://shop.example/"},
            "accepted": {"type": "injection"},
            "nothing": {"type": "bounce", "bounce_class": "60"},
            "new": {"type": "teleported"},
        }[what]
        base = {
            "event_id": str(uuid4().int >> 64),
            "timestamp": str(seconds(at)),
            "rcpt_meta": {"depesche": local(path)},
        }
        return {"msys": {"message_event": {**base, "rcpt_to": "kim@customer.example", **fields}}}

    def post(self, events: list[Any], at: datetime) -> Post:
        return Post({**JSON, "x-webhook-key": self.token}, json.dumps(events).encode())


@dataclass
class Brevo:
    token: str = "another-token-of-some-length"
    vendor = Vendor.BREVO

    @property
    def account(self) -> dict[str, Any]:
        return {"vendor": "brevo", "webhook_keys": [self.token]}

    def event(self, what: str, path: str, at: datetime) -> Any:
        fields = {
            "hard": {"event": "hard_bounce", "reason": WORDS},
            "soft": {"event": "soft_bounce", "reason": "452 4.2.2 mailbox full"},
            "block": {"event": "soft_bounce", "reason": "554 5.7.1 listed"},
            "dropped": {"event": "blocked", "reason": "blocked : due to blacklist user"},
            "complaint": {"event": "spam"},
            "unsubscribe": {"event": "unsubscribed"},
            "delivered": {"event": "delivered"},
            "deferred": {"event": "deferred", "reason": "421 4.7.0 later"},
            "opened": {"event": "opened"},
            "clicked": {"event": "click", "link": "https://shop.example/"},
            "accepted": {"event": "request"},
            "nothing": {"event": "proxy_open"},
            "new": {"event": "teleported"},
        }[what]
        base = {
            "message-id": f"<{uuid4().hex}@relay.example>",
            "ts_event": seconds(at),
            "email": "kim@customer.example",
        }
        return {**base, "X-Mailin-custom": local(path), **fields}

    def post(self, events: list[Any], at: datetime) -> Post:
        body = json.dumps(events[0] if len(events) == 1 else events)
        return Post({**JSON, "authorization": f"Bearer {self.token}"}, body.encode())
