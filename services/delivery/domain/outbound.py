"""What a provider is given: one rendered message for one address, and the sender it goes out by."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Mode
from libs.rendering.contents import Content
from services.delivery.domain.mail_vendors import Vendor


class Outbound(msgspec.Struct, frozen=True):
    """One attempt at one message.

    Content objects may be shared between messages: what a provider derives from one, it derives once.
    `tag` is the message id (`notification_id.address_id`), the same for every attempt, so that a device
    shows a resend in the place of the first. `ttl_seconds` is what is left until expiry.
    """

    tag: str
    notification_id: UUID
    address_id: int
    attempt: int
    kind: str  # fcm_token | fid | email | phone | webhook
    address: str
    content: Content
    ttl_seconds: int = 86_400
    unsubscribe_url: str | None = None  # marketing mail: RFC 8058
    recipient_name: str | None = None  # for the To header


@dataclass(frozen=True, slots=True)
class FcmAccount:
    """A Firebase project. One of `credentials` (a service account's JSON) and `static_token` is set.

    In every account `timeout_seconds` is the longest that a call takes once it has begun: a lease leaves
    that much room behind the deadline.
    """

    project: str
    credentials: str | None = field(default=None, repr=False)
    static_token: str | None = field(default=None, repr=False)
    url: str = "https://fcm.googleapis.com"
    ca_file: str | None = None
    connections: int = 2
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class SmtpAccount:
    """A mail relay, and who writes. `tls`: off | opportunistic | required (STARTTLS) | implicit.

    `vendor` (a word of mail_vendors.Vendor): whose relay it is, where that reports by webhooks; `webhook_keys` and
    `webhook_topics` verify them.
    """

    host: str
    port: int
    from_address: str
    from_name: str | None = None
    return_path_domain: str = "localhost"
    tls: str = "required"
    ca_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    helo_name: str = "localhost"
    connections: int = 8
    mails_per_connection: int = 1_000
    connect_timeout_seconds: float = 10.0
    reply_timeout_seconds: float = 10.0  # to everything before the text is handed over
    timeout_seconds: float = 15.0  # from handing the text over to the server's yes
    vendor: Vendor | None = None
    webhook_keys: tuple[str, ...] = field(default=(), repr=False)
    webhook_topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """A Twilio account. `originator` is a number or a word, or a messaging service (MG…)."""

    account_sid: str
    auth_token: str = field(repr=False)
    originator: str
    callback_url: str  # this sender's status callbacks; message and attempt are added as query
    url: str = "https://api.twilio.com"
    connections: int = 20
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class WebhookAccount:
    """Standard Webhooks: the newest secret first; all of them sign while they are rotated."""

    secrets: tuple[str, ...] = field(repr=False)
    allow_private: bool = False
    connections: int = 20
    timeout_seconds: float = 10.0
    ca_file: str | None = None


Account = FcmAccount | SmtpAccount | TwilioAccount | WebhookAccount


def domain_of(address: str) -> str | None:
    """What stands behind the last @ of an e-mail address; None where there is none."""
    return address.rpartition("@")[2].lower() or None if "@" in address else None


def from_domain(account: Account) -> str | None:
    """The domain that a mail's readers see; None for other channels."""
    return domain_of(account.from_address) if isinstance(account, SmtpAccount) else None


@dataclass(frozen=True, slots=True)
class Sender:
    """A tenant's identity on a channel. Providers keep connections per (number, mode, version)."""

    number: int
    tenant: int
    mode: Mode
    channel: Channel
    version: int
    account: Account
    changed_at: datetime | None = None  # of this version; None where nobody set it up
