"""The mail vendors whose webhooks we read: a sender account's settings for one, and the content of a webhook."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from libs.contracts.outcomes import ReceiptKind
from libs.errors import FieldError
from services.delivery.domain.callbacks import Opinion

_TOPIC = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:[a-z0-9-]{1,32}:\d{12}:[\w-]{1,256}", re.ASCII)
_SHORTEST_SECRET = 16


class Vendor(StrEnum):
    """The vendor whose relay a mail sender uses; the word appears in the account and in the callback's path."""

    SES = "ses"
    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"
    POSTMARK = "postmark"
    SPARKPOST = "sparkpost"
    BREVO = "brevo"


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """What verifies that a webhook is the vendor's. `keys`: its signing keys, public keys or secrets shared with it,
    all of them valid during rotation. `topics`: the SNS topics of Amazon SES."""

    keys: Sequence[str] = field(default=(), repr=False)
    topics: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MailNews:
    """What a vendor reports about one mail. `event_id` is the same for a repeat; our signed return path is the first
    of `paths` that can be read as one."""

    event_id: str
    paths: tuple[str, ...]
    kind: ReceiptKind
    at: datetime
    text: str | None = None  # the words of the recipient's server, else the vendor's
    reply_code: int | None = None
    enhanced: str | None = None
    opinion: Opinion | None = None


@dataclass(slots=True)
class Reading:
    """A verified webhook, as far as it is readable."""

    news: list[MailNews] = field(default_factory=list)
    ignored: int = 0  # events that say nothing about a mail to its recipient
    new_to_us: int = 0  # events of unknown kinds
    unreadable: list[FieldError] = field(default_factory=list)
    nonce: str | None = None  # if the signature does not cover the body: valid for the first body that it came with


def key_problems(vendor: Vendor, keys: WebhookKeys) -> list[tuple[str, str]]:
    """Return what is wrong with a sender's keys, by field of the account."""
    if vendor is Vendor.SES:
        problems = [("webhook_keys", "Amazon SES has no keys; remove this.")] if keys.keys else []
        if not keys.topics:
            return [*problems, ("webhook_topics", "Give the ARN of the SNS topic that Amazon SES publishes to.")]
        wrong = [n for n, topic in enumerate(keys.topics) if not _TOPIC.fullmatch(topic)]
        return problems + [
            (f"webhook_topics/{n}", "An SNS topic must have the form arn:aws:sns:REGION:ACCOUNT:NAME.") for n in wrong
        ]
    problems = [("webhook_topics", "Only Amazon SES has topics; remove this.")] if keys.topics else []
    if not keys.keys:
        return [*problems, ("webhook_keys", "Give the keys that verify the vendor's webhooks, the newest first.")]
    check = _public_key_problem if vendor is Vendor.SENDGRID else _secret_problem
    return problems + [(f"webhook_keys/{n}", said) for n, key in enumerate(keys.keys) if (said := check(key))]


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """Parse a verification key as SendGrid shows it: base64 of the DER form of a P-256 key. Raises ValueError."""
    key = load_der_public_key(base64.b64decode(text, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key on P-256")
    return key


def _public_key_problem(text: str) -> str | None:
    try:
        public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        return (
            "SendGrid's verification key must be a P-256 public key in base64; copy it from its Event Webhook settings."
        )
    return None


def _secret_problem(text: str) -> str | None:
    if len(text) < _SHORTEST_SECRET or not text.isascii() or not text.isprintable():
        return f"A webhook's secret must have {_SHORTEST_SECRET} or more printable ASCII characters."
    return None
