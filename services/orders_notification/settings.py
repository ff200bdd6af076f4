"""Settings of orders-notification."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class OrdersNotificationSettings(ServiceSettings):
    """Intake's settings."""

    SECTION: ClassVar[str] = "orders_notification"

    pool_max_connections: int = Field(default=8, ge=2, le=100, description="Maximum Postgres connections per process.")
    commit_window_milliseconds: float = Field(
        default=5.0,
        ge=0,
        le=1_000,
        description="Milliseconds that a single event waits for others to share its commit.",
    )
    commit_most_events: int = Field(default=200, ge=1, le=5_000, description="Maximum single events per commit.")
    commit_room_events: int = Field(
        default=5_000, ge=1, le=1_000_000, description="Maximum single events waiting; beyond it the answer is 503."
    )
    event_max_bytes: int = Field(default=1 << 20, ge=1_024, description="Maximum bytes of one event.")
    batch_max_bytes: int = Field(
        default=16 << 20, ge=1_024, description="Maximum bytes of a batch, or of a shop's webhook."
    )
    batch_max_events: int = Field(default=10_000, ge=1, description="Maximum events in one batch.")
    stream_max_bytes: int = Field(default=1 << 30, ge=1_024, description="Maximum bytes of an NDJSON stream.")
    stream_max_lines: int = Field(default=100_000, ge=1, description="Maximum lines of an NDJSON stream.")
    stream_commit_lines: int = Field(default=500, ge=1, le=5_000, description="Lines of a stream per commit.")
    topic_grants: tuple[str, ...] = Field(
        default=("*/*/*",),
        description="Topics that sources may consume, as tenant/component/topic with * for any characters.",
    )
    topic_restart_sidecar: bool = Field(
        default=False,
        description="Whether a worker restarts its sidecar when a source names a new topic; only if a supervisor "
        "starts it again, as Kubernetes does.",
    )
    event_keep_days: int = Field(default=90, ge=1, le=3_650, description="Days that events and rejections are kept.")
    event_key_keep_days: int = Field(
        default=30, ge=1, le=3_650, description="Days within which the same source and id are the same event."
    )
