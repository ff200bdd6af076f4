"""What a provider is given: one rendered message for one address, and its sender."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Mode
from libs.rendering.contents import Content
from services.delivery.domain.mail_vendors import Vendor


class Outbound(msgspec.Struct, frozen=True):
    """One attempt at one message.

    Messages may share content objects: what a provider derives from one, it derives once. `tag` is the message id
    (`notification_id.address_id`), the same for every attempt, so that a resend replaces the first one on the
    device. `ttl_seconds` is the time left until expiry."""

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

    In every account `timeout_seconds` is the longest that a call takes once it has begun: a lease leaves that much
    time after the deadline."""

    project: str
    credentials: str | None = field(default=None, repr=False)
    static_token: str | None = field(default=None, repr=False)
    url: str = "https://fcm.googleapis.com"
    ca_file: str | None = None
    connections: int = 2
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class SmtpAccount:
    """A mail relay and the From identity. `tls`: off | opportunistic | required (STARTTLS) | implicit.

    `vendor` (a word of mail_vendors.Vendor): the relay's owner, if it reports by webhooks; `webhook_keys` and
    `webhook_topics` verify them."""

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
    reply_timeout_seconds: float = 10.0  # for everything before the text is handed over
    timeout_seconds: float = 15.0  # from handing over the text to the server's reply
    vendor: Vendor | None = None
    webhook_keys: tuple[str, ...] = field(default=(), repr=False)
    webhook_topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """A Twilio account. `originator` is a number or a word, or a messaging service (MG…).

    Calls use `auth_token`; callbacks signed with one of `further_auth_tokens` are accepted too. During a rotation
    Twilio takes both tokens, and signs with the old one until the new one is promoted.
    """

    account_sid: str
    auth_token: str = field(repr=False)
    originator: str
    callback_url: str  # for this sender's status callbacks; message and attempt are added as query
    url: str = "https://api.twilio.com"
    further_auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    connections: int = 20
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class WebhookAccount:
    """Standard Webhooks: the newest secret first; all of them sign during rotation."""

    secrets: tuple[str, ...] = field(repr=False)
    allow_private: bool = False
    connections: int = 20
    timeout_seconds: float = 10.0
    ca_file: str | None = None


Account = FcmAccount | SmtpAccount | TwilioAccount | WebhookAccount


def domain_of(address: str) -> str | None:
    """Return what follows the last @ of an e-mail address; None if there is none."""
    return address.rpartition("@")[2].lower() or None if "@" in address else None


def from_domain(account: Account) -> str | None:
    """Return the domain that a mail's readers see; None for other channels."""
    return domain_of(account.from_address) if isinstance(account, SmtpAccount) else None


@dataclass(frozen=True, slots=True)
class Sender:
    """A tenant's identity on a channel. Providers hold connections per (number, mode, version)."""

    number: int
    tenant: int
    mode: Mode
    channel: Channel
    version: int
    account: Account
    changed_at: datetime | None = None  # of this version; None if nobody configured the sender
