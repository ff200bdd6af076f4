"""The settings of bounce."""

from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, model_validator

from libs.settings import ServiceSettings

_LONGEST_PATH = 90  # bytes: a socket's limit, minus the suffix that it has while it is created


def _port_or_socket(value: object) -> int | str:
    text = str(value).strip()
    path = text.removeprefix("unix:")
    if path != text:
        if not path.startswith("/") or "\0" in path or not 1 < len(path.encode()) <= _LONGEST_PATH:
            raise ValueError(
                f"a socket is an absolute path of at most {_LONGEST_PATH} bytes, like unix:/run/depesche/lmtp"
            )
        return text
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ValueError("a port from 0 to 65535, or unix:/path of a socket")
    return int(text)


class BounceSettings(ServiceSettings):
    """Section `bounce`."""

    SECTION: ClassVar[str] = "bounce"

    smtp_host: str = Field(
        "127.0.0.1", description="Address of the SMTP listener for bounce mails; 0.0.0.0 for all interfaces."
    )
    smtp_port: int = Field(
        8725, ge=0, le=65_535, description="TCP port for bounce mails; the bounce domain's MX must lead here. 0: none."
    )
    lmtp_host: str = Field(
        "127.0.0.1", description="Address of the LMTP listener for bounce mails from one's own mail server."
    )
    lmtp_port: Annotated[int | str, PlainValidator(_port_or_socket)] = Field(
        0, description="TCP port for bounce mails over LMTP, or `unix:/path` of a socket. 0: none."
    )
    lmtp_socket_mode: str = Field(
        "660",
        pattern=r"^[0-7]{3}$",
        description="Permissions of that socket, in octal; whoever may write to it may submit bounce mails.",
    )
    domains: tuple[str, ...] = Field(
        (), description="Bounce domains whose return paths are accepted; empty: any domain, if our signature is valid."
    )
    feedback_mailboxes: tuple[str, ...] = Field(
        ("postmaster", "abuse", "fbl"),
        description="Local parts that accept feedback reports, which have the return path inside the mail.",
    )
    max_mail_bytes: int = Field(
        20 * 1024 * 1024,
        ge=10_000,
        description="Maximum bytes of a bounce mail; larger ones get a 552. 1 MB of it is kept.",
    )
    max_import_bytes: int = Field(
        2 << 30, ge=10_000, description="Maximum bytes of a zip or mbox over HTTP; unpacked as well as packed."
    )
    max_import_mails: int = Field(500_000, ge=1, description="Maximum mails in one zip or mbox; the rest is not read.")
    max_connections: int = Field(100, ge=1, description="Maximum concurrent SMTP connections; more get a 421.")
    max_peer_connections: int = Field(
        20, ge=1, description="Maximum concurrent SMTP connections per host; more get a 421."
    )
    max_recipients: int = Field(20, ge=1, description="Maximum recipients tried per bounce mail; more get a 452.")
    mails_per_minute: int = Field(
        600, ge=1, description="Mails that one host may begin per minute over SMTP; more get a 451."
    )
    idle_seconds: float = Field(60.0, gt=0, description="Seconds after which a silent SMTP connection is closed.")
    raw_retention_days: int = Field(
        14, ge=1, description="Days for which the bytes of a mail are kept; the fact stays longer."
    )
    facts_kept_days: int = Field(
        400,
        ge=30,
        description="Days for which facts and mails are kept; the evidence of a suppression in force stays longer.",
    )
    hourly_figures_kept_days: int = Field(
        100, ge=31, description="Days for which figures by the hour are kept; those by the day stay longer."
    )
    figures_kept_days: int = Field(
        800, ge=400, description="Days for which figures by the day, reputation and what rules did are kept."
    )
    pool_max_connections: int = Field(6, ge=1, description="Postgres connections per process.")
    model: str = Field(
        "shipped",
        min_length=1,
        description="What classifies a reply that no rule matches: `shipped`, the path of a file that `depesche bounce "
        "train` wrote, or `off`.",
    )

    # when a fact bars its address
    trusted_providers: tuple[str, ...] = Field(
        ("*",),
        description="Providers whose single `no such user` bars a mailbox, like `gmail, yahoo`; others need two. `*`: "
        "all, since a sign of life or an open breaker requires a second proof anyway.",
    )
    second_proof_hours: float = Field(
        24, gt=0, description="Minimum hours between two proofs for the second one to bar."
    )
    proofs_days: int = Field(60, ge=1, le=400, description="Days for which a first proof counts.")
    delivered_after_hours: float = Field(
        24, ge=0, description="Hours after the day of an accepted mail until it counts as delivered, without a bounce."
    )
    recent_delivery_days: int = Field(
        45, ge=0, le=60, description="Days for which a delivery requires two proofs even from a trusted provider."
    )
    recent_reading_days: int = Field(
        90, ge=0, description="Days for which an opening or click requires two proofs even from a trusted provider."
    )
    score_days: int = Field(
        3, ge=1, description="Distinct days with a full mailbox (or a refusing filter) after which marketing is barred."
    )
    score_within_days: int = Field(
        14, ge=1, description="Days after which such a day expires; a delivery ends all of them."
    )

    # when a provider is not believed
    breaker_factor: float = Field(
        5, gt=1, description="Factor of its usual share up to which a provider's `no such user` is believed."
    )
    breaker_minimum: int = Field(
        200, ge=1, description="Refusals within the window below which a provider is always believed."
    )
    breaker_window_minutes: int = Field(10, ge=1, le=60, description="Minutes over which refusals are counted.")
    breaker_usual_days: int = Field(7, ge=1, le=30, description="Days over which the usual share is computed.")
    breaker_answer_minutes: int = Field(
        60, ge=1, description="Minutes within which bounces follow the mails that they answer."
    )
    breaker_quiet_minutes: int = Field(30, ge=1, description="Minutes within the band after which the breaker closes.")
    breaker_back_hours: float = Field(
        6, gt=0, le=24, description="Maximum hours that the breaker looks back for the start of the outage."
    )
    parked_days: int = Field(
        14, ge=1, description="Days after which a parked address is dropped if nothing further arrives about it."
    )

    # DNS checks of domains
    domain_again_hours: float = Field(24, gt=0, description="Hours after which a domain without mail is checked again.")
    domain_timeout_seconds: float = Field(5, gt=0, description="Timeout in seconds for one domain's queries.")
    domain_questions: int = Field(8, ge=1, le=100, description="Maximum domains checked concurrently.")
    dns_servers: tuple[str, ...] = Field(
        (), description="DNS servers to query, by IP address; empty: the system's own."
    )

    # other systems' webhooks
    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may use private addresses, and http: for intranets."
    )
    webhook_timeout_seconds: float = Field(10, gt=0, le=30, description="Timeout in seconds for a webhook call.")
    webhook_connections: int = Field(8, ge=1, le=50, description="Concurrent calls of one webhook, per process.")
    webhooks_at_once: int = Field(20, ge=1, description="Webhooks called concurrently, per process.")
    webhook_disable_days: float = Field(5, gt=0, description="Days of failing after which a webhook is disabled.")
    webhook_overlap_hours: float = Field(
        24, ge=0, description="Hours for which a webhook's previous secret still signs beside the new one."
    )
    webhook_kept_days: int = Field(
        14, ge=4, description="Days for which a webhook's events and its log are kept, and can be sent again."
    )

    @model_validator(mode="after")
    def _facts_outlive_what_counts_them(self) -> "BounceSettings":
        needed = max(self.proofs_days, self.score_within_days, self.raw_retention_days, self.parked_days)
        if self.facts_kept_days < needed:
            raise ValueError(
                f"facts_kept_days is {self.facts_kept_days}, but other settings look back {needed} days; "
                f"set it to at least {needed}"
            )
        return self
