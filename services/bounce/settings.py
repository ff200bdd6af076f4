"""The settings of bounce."""

from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, model_validator

from libs.settings import ServiceSettings

_LONGEST_PATH = 90  # bytes; what a socket's name has room for, less what stands beside it while it is made


def _port_or_socket(value: object) -> int | str:
    text = str(value).strip()
    path = text.removeprefix("unix:")
    if path != text:
        if not path.startswith("/") or "\0" in path or not 1 < len(path.encode()) <= _LONGEST_PATH:
            raise ValueError(
                f"a socket is an absolute path of at most {_LONGEST_PATH} bytes, as unix:/run/depesche/lmtp"
            )
        return text
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ValueError("a port from 0 to 65535, or unix:/path of a socket")
    return int(text)


class BounceSettings(ServiceSettings):
    """Section `bounce`."""

    SECTION: ClassVar[str] = "bounce"

    smtp_host: str = Field(
        "127.0.0.1", description="Address on which bounce mails are taken in over SMTP; 0.0.0.0 for all interfaces."
    )
    smtp_port: int = Field(
        8725, ge=0, le=65_535, description="TCP port for bounce mails; the MX of the bounce domain leads here. 0: none."
    )
    lmtp_host: str = Field(
        "127.0.0.1", description="Address on which a mail server of one's own hands bounce mails over by LMTP."
    )
    lmtp_port: Annotated[int | str, PlainValidator(_port_or_socket)] = Field(
        0, description="TCP port for bounce mails over LMTP, or `unix:/path` of a socket. 0: none."
    )
    lmtp_socket_mode: str = Field(
        "660",
        pattern=r"^[0-7]{3}$",
        description="Permissions of that socket, in octal; who may write to it may hand bounce mails in.",
    )
    domains: tuple[str, ...] = Field(
        (), description="Bounce domains whose return paths are taken; empty takes every domain that our signature fits."
    )
    feedback_mailboxes: tuple[str, ...] = Field(
        ("postmaster", "abuse", "fbl"),
        description="Local parts that take feedback reports, whose return path stands inside the mail.",
    )
    max_mail_bytes: int = Field(
        20 * 1024 * 1024,
        ge=10_000,
        description="Largest bounce mail that is taken, in bytes; larger ones get a 552. 1 MB of it is kept.",
    )
    max_import_bytes: int = Field(
        2 << 30, ge=10_000, description="Largest zip or mbox of mails over HTTP, in bytes; unpacked as well as packed."
    )
    max_import_mails: int = Field(500_000, ge=1, description="Mails in one zip or mbox; no more are read of it.")
    max_connections: int = Field(100, ge=1, description="SMTP connections served at once; more of them get a 421.")
    max_peer_connections: int = Field(20, ge=1, description="SMTP connections of one host at once; more get a 421.")
    max_recipients: int = Field(20, ge=1, description="Recipients tried per bounce mail; further ones get a 452.")
    mails_per_minute: int = Field(
        600, ge=1, description="Mails that one host may begin in a minute over SMTP; further ones get a 451."
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
    pool_max_connections: int = Field(6, ge=1, description="Postgres connections of one process.")
    model: str = Field(
        "shipped",
        min_length=1,
        description="What is asked where no rule reads a reply: `shipped`, the path of a file that `depesche bounce "
        "train` made, or `off`.",
    )

    # when a fact bars its address
    trusted_providers: tuple[str, ...] = Field(
        ("*",),
        description="Providers whose `no such user` ends a mailbox at once, as `gmail, yahoo`; others have to say it "
        "twice. `*`: all, since a sign of life or an open breaker asks for a second proof anyway.",
    )
    second_proof_hours: float = Field(
        24, gt=0, description="Hours that must lie between two proofs for the second one to bar."
    )
    proofs_days: int = Field(60, ge=1, le=400, description="Days for which a first proof counts.")
    delivered_after_hours: float = Field(
        24, ge=0, description="Hours after the day of an accepted mail until it counts as delivered, if no bounce came."
    )
    recent_delivery_days: int = Field(
        45, ge=0, le=60, description="Days for which a delivery makes even a trusted provider say it twice."
    )
    recent_reading_days: int = Field(
        90, ge=0, description="Days for which an opening or a click makes even a trusted provider say it twice."
    )
    score_days: int = Field(
        3, ge=1, description="Distinct days with a full mailbox (or a refusing filter) after which marketing is barred."
    )
    score_within_days: int = Field(
        14, ge=1, description="Days after which such a day is forgotten; a delivery makes all of them forgotten."
    )

    # when a provider is not believed
    breaker_factor: float = Field(
        5, gt=1, description="How many times its usual share a provider's `no such user` may reach."
    )
    breaker_minimum: int = Field(
        200, ge=1, description="Refusals within the window below which a provider is always believed."
    )
    breaker_window_minutes: int = Field(10, ge=1, le=60, description="Minutes over which refusals are counted.")
    breaker_usual_days: int = Field(7, ge=1, le=30, description="Days over which the usual share is taken.")
    breaker_answer_minutes: int = Field(
        60, ge=1, description="Minutes within which bounces follow the mails that they answer."
    )
    breaker_quiet_minutes: int = Field(
        30, ge=1, description="Minutes within the band after which the breaker closes by itself."
    )
    breaker_back_hours: float = Field(
        6, gt=0, le=24, description="Hours that the breaker looks back at most for where the outage began."
    )
    parked_days: int = Field(
        14, ge=1, description="Days after which what is parked is dropped if nothing more is heard of the address."
    )

    # what is said of domains
    domain_again_hours: float = Field(24, gt=0, description="Hours after which a domain without mail is asked again.")
    domain_timeout_seconds: float = Field(5, gt=0, description="Seconds that one domain's questions may take.")
    domain_questions: int = Field(8, ge=1, le=100, description="Domains asked for at once.")
    dns_servers: tuple[str, ...] = Field((), description="DNS servers to ask, by IP address; empty: the system's own.")

    # how other systems are told
    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may lead to private addresses, and over http: for intranets."
    )
    webhook_timeout_seconds: float = Field(10, gt=0, le=30, description="Seconds that one call of a webhook may take.")
    webhook_connections: int = Field(8, ge=1, le=50, description="Calls of one webhook at once, in one process.")
    webhooks_at_once: int = Field(20, ge=1, description="Webhooks that are called at once, in one process.")
    webhook_disable_days: float = Field(5, gt=0, description="Days of failing after which a webhook is disabled.")
    webhook_overlap_hours: float = Field(
        24, ge=0, description="Hours for which a webhook's older secret goes on signing beside the new one."
    )
    webhook_kept_days: int = Field(
        14, ge=4, description="Days for which a webhook's events and its log are kept, and can be told again."
    )

    @model_validator(mode="after")
    def _facts_outlive_what_counts_them(self) -> "BounceSettings":
        needed = max(self.proofs_days, self.score_within_days, self.raw_retention_days, self.parked_days)
        if self.facts_kept_days < needed:
            raise ValueError(
                f"facts_kept_days is {self.facts_kept_days}, and other settings look back {needed} days; "
                f"give it at least {needed}"
            )
        return self
