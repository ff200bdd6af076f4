"""Settings of tokens: each with its unit and one sentence."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class TokensSettings(ServiceSettings):
    """Recipients, addresses and imports."""

    SECTION: ClassVar[str] = "tokens"

    default_region: str = Field(
        "DE",
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166, two letters) of phone numbers that come without a country code.",
    )
    default_zone: str = Field(
        "Europe/Berlin",
        description="Time zone (IANA name) of quiet hours where neither they nor the recipient name one.",
    )
    allow_private_webhooks: bool = Field(
        False,
        description="Whether webhook addresses may use http and point to private or loopback hosts (true or false).",
    )
    import_batch_rows: int = Field(
        1_000, ge=1, le=5_000, description="Rows of an import that are written in one transaction (rows)."
    )
    import_max_bytes: int = Field(1 << 30, ge=1 << 20, description="Largest file that an import takes (bytes).")
    import_max_rows: int = Field(5_000_000, ge=1, description="Most rows that an import takes (rows).")
    import_kept_refusals: int = Field(
        10_000, ge=1, le=1_000_000, description="Refused rows of an import that are kept with their reason (rows)."
    )
    pool_max_connections: int = Field(8, ge=2, le=100, description="Most connections to Postgres (connections).")
