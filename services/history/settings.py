"""The settings of history."""

from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from libs.settings import ServiceSettings


class HistorySettings(ServiceSettings):
    """Section `history`."""

    SECTION: ClassVar[str] = "history"

    retention_days: int = Field(
        90, ge=2, description="Days for which history is kept; then it is dropped a week at a time."
    )
    days_ahead: int = Field(3, ge=1, description="Coming days whose partitions are made ahead.")
    ask_seconds: float = Field(2.0, gt=0, description="Seconds that a verdict waits for another service's answer.")
    search_seconds: float = Field(10.0, gt=0, description="Seconds that a search of the audit has for an answer.")
    pool_max_connections: int = Field(8, ge=1, description="Postgres connections of one process.")
    mongo_url: SecretStr = Field(
        SecretStr(""),
        description="MongoDB that keeps the timeline, mongodb://user:password@host/database; empty: Postgres keeps it.",
    )
    mongo_timeout_seconds: float = Field(10.0, gt=0, description="Seconds that MongoDB has for an answer.")
    opensearch_url: SecretStr = Field(
        SecretStr(""),
        description="OpenSearch that keeps the audit, https://user:password@host:9200; empty: Postgres keeps it.",
    )
    opensearch_prefix: str = Field(
        "depesche-audit",
        pattern=r"^[a-z][a-z0-9-]{0,60}$",
        description="What the names of the audit's indices begin with; the month follows.",
    )
    opensearch_spill_mib: int = Field(
        4_096,
        ge=1,
        description="MiB that may wait in Postgres while OpenSearch is away; then the bus keeps the events.",
    )
    opensearch_timeout_seconds: float = Field(10.0, gt=0, description="Seconds that OpenSearch has for an answer.")

    @field_validator("mongo_url")
    @classmethod
    def _is_mongo(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("not an address of MongoDB: it begins with mongodb:// or mongodb+srv://")
        return url

    @field_validator("opensearch_url")
    @classmethod
    def _is_http(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("not an address of OpenSearch: it begins with http:// or https://")
        return url
