"""The settings of history."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class HistorySettings(ServiceSettings):
    """Section `history`."""

    SECTION: ClassVar[str] = "history"

    retention_days: int = Field(
        90, ge=2, description="Days for which history is kept; then it is dropped a week at a time."
    )
    days_ahead: int = Field(3, ge=1, description="Coming days whose partitions are made ahead.")
    ask_seconds: float = Field(2.0, gt=0, description="Seconds that a verdict waits for another service's answer.")
    pool_max_connections: int = Field(8, ge=1, description="Postgres connections of one process.")
