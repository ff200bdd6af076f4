"""The settings of bounce."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class BounceSettings(ServiceSettings):
    """Section `bounce`."""

    SECTION: ClassVar[str] = "bounce"

    smtp_host: str = Field(
        "127.0.0.1", description="Address on which bounce mails are taken in over SMTP; 0.0.0.0 for all interfaces."
    )
    smtp_port: int = Field(
        8725, ge=0, le=65_535, description="TCP port for bounce mails; the MX of the bounce domain leads here. 0: none."
    )
    domains: tuple[str, ...] = Field(
        (), description="Bounce domains whose return paths are taken; empty takes every domain that our signature fits."
    )
    feedback_mailboxes: tuple[str, ...] = Field(
        ("postmaster", "abuse", "fbl"),
        description="Local parts that take feedback reports, whose return path stands inside the mail.",
    )
    max_mail_bytes: int = Field(
        10 * 1024 * 1024, ge=10_000, description="Largest bounce mail that is taken, in bytes; larger ones get a 552."
    )
    max_connections: int = Field(100, ge=1, description="SMTP connections served at once; more of them get a 421.")
    max_recipients: int = Field(20, ge=1, description="Recipients per bounce mail; further ones get a 452.")
    idle_seconds: float = Field(60.0, gt=0, description="Seconds after which a silent SMTP connection is closed.")
    raw_retention_days: int = Field(
        14, ge=1, description="Days for which the bytes of a mail are kept; the fact stays longer."
    )
    pool_max_connections: int = Field(6, ge=1, description="Postgres connections of one process.")
