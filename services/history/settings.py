"""The settings of history."""

from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from libs.settings import ServiceSettings


class HistorySettings(ServiceSettings):
    """Section `history`."""

    SECTION: ClassVar[str] = "history"

    retention_days: int = Field(90, ge=2, description="Days that history is kept; it is dropped a week at a time.")
    days_ahead: int = Field(3, ge=1, description="Days for which partitions are created ahead.")
    ask_seconds: float = Field(2.0, gt=0, description="Timeout in seconds for another service's part of a verdict.")
    search_seconds: float = Field(10.0, gt=0, description="Timeout in seconds for a search of the audit.")
    pool_max_connections: int = Field(8, ge=1, description="Postgres connections per process.")
    mongo_url: SecretStr = Field(
        SecretStr(""),
        description="MongoDB that stores the timeline, mongodb://user:password@host/database; empty: Postgres.",
    )
    mongo_timeout_seconds: float = Field(10.0, gt=0, description="Timeout in seconds for MongoDB.")
    opensearch_url: SecretStr = Field(
        SecretStr(""),
        description="OpenSearch that stores the audit, https://user:password@host:9200; empty: Postgres.",
    )
    opensearch_prefix: str = Field(
        "depesche-audit",
        pattern=r"^[a-z][a-z0-9-]{0,60}$",
        description="Prefix of the names of the audit's indices; the month follows.",
    )
    opensearch_spill_mib: int = Field(
        4_096,
        ge=1,
        description="MiB that may wait in Postgres while OpenSearch is unavailable; then the bus retains events.",
    )
    opensearch_timeout_seconds: float = Field(10.0, gt=0, description="Timeout in seconds for OpenSearch.")

    @field_validator("mongo_url")
    @classmethod
    def _is_mongo(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("not a MongoDB URL: it must begin with mongodb:// or mongodb+srv://")
        return url

    @field_validator("opensearch_url")
    @classmethod
    def _is_http(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("not an OpenSearch URL: it must begin with http:// or https://")
        return url
