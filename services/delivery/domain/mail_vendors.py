"""The mail vendors whose webhooks we read: what a sender's account says of one, and what a webhook comes to."""

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
    """Whose relay a mail sender hands its mails to; the word stands in the account and in the callback's path."""

    SES = "ses"
    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"
    POSTMARK = "postmark"
    SPARKPOST = "sparkpost"
    BREVO = "brevo"


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """What proves that a webhook is the vendor's: `keys` are its signing keys, public keys or secrets that we share
    with it, all of them valid while they are rotated; `topics` are the SNS topics of Amazon SES."""

    keys: Sequence[str] = field(default=(), repr=False)
    topics: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MailNews:
    """What a vendor says happened to one mail. `event_id` is the same for a repeat of it; our signed return path
    stands in the first of `paths` that reads as one."""

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
    """A webhook that was verified, as far as it can be read."""

    news: list[MailNews] = field(default_factory=list)
    ignored: int = 0  # events that say nothing about a mail to its recipient
    new_to_us: int = 0  # events of kinds that we do not know
    unreadable: list[FieldError] = field(default_factory=list)
    nonce: str | None = None  # where the signature does not cover the body: valid for the first body that it came with


def key_problems(vendor: Vendor, keys: WebhookKeys) -> list[tuple[str, str]]:
    """What is wrong with a sender's keys, by field of the account."""
    if vendor is Vendor.SES:
        problems = [("webhook_keys", "Amazon SES has no keys; leave it out.")] if keys.keys else []
        if not keys.topics:
            return [*problems, ("webhook_topics", "Give the ARN of the SNS topic that Amazon SES publishes to.")]
        wrong = [n for n, topic in enumerate(keys.topics) if not _TOPIC.fullmatch(topic)]
        return problems + [(f"webhook_topics/{n}", "An SNS topic is arn:aws:sns:REGION:ACCOUNT:NAME.") for n in wrong]
    problems = [("webhook_topics", "Only Amazon SES has topics; leave it out.")] if keys.topics else []
    if not keys.keys:
        return [*problems, ("webhook_keys", "Give what verifies the vendor's webhooks, the newest first.")]
    check = _public_key_problem if vendor is Vendor.SENDGRID else _secret_problem
    return problems + [(f"webhook_keys/{n}", said) for n, key in enumerate(keys.keys) if (said := check(key))]


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A verification key as SendGrid shows it: base64 of the DER form of a P-256 key. Raises ValueError."""
    key = load_der_public_key(base64.b64decode(text, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key on P-256")
    return key


def _public_key_problem(text: str) -> str | None:
    try:
        public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        return "SendGrid's verification key is base64 of a P-256 public key; copy it from the Event Webhook's settings."
    return None


def _secret_problem(text: str) -> str | None:
    if len(text) < _SHORTEST_SECRET or not text.isascii() or not text.isprintable():
        return f"A webhook's secret has {_SHORTEST_SECRET} or more printable ASCII characters."
    return None
