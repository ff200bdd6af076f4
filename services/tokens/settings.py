"""Settings of tokens, each with its unit and one sentence."""

from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from libs.settings import ServiceSettings


class TokensSettings(ServiceSettings):
    """Recipients, addresses and imports."""

    SECTION: ClassVar[str] = "tokens"

    default_region: str = Field(
        "DE",
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166, two letters) of phone numbers without a country code.",
    )
    default_zone: str = Field(
        "Europe/Berlin",
        description="Time zone (IANA name) for quiet hours if neither they, the recipient nor the tenant have one.",
    )
    allow_private_webhooks: bool = Field(
        False,
        description="Whether webhook addresses may use http and point to private or loopback hosts (true or false).",
    )
    import_batch_rows: int = Field(1_000, ge=1, le=5_000, description="Rows of an import written in one transaction.")
    import_max_bytes: int = Field(1 << 30, ge=1 << 20, description="Largest file that an import accepts, in bytes.")
    import_max_rows: int = Field(5_000_000, ge=1, description="Maximum number of rows in an import.")
    import_kept_refusals: int = Field(
        10_000, ge=1, le=1_000_000, description="Maximum number of refused rows of an import stored with their reason."
    )
    pool_max_connections: int = Field(
        8, ge=2, le=100, description="Maximum number of Postgres connections per process."
    )

    @field_validator("default_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        # the sender would take an unknown one for UTC, and send in the middle of the night
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("not a time zone of the IANA database: use a name like Europe/Berlin") from error
        return name
