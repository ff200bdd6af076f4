"""Settings of delivery."""

from typing import ClassVar

from pydantic import Field, model_validator

from libs.settings import ServiceSettings

# the longest timeout of senders without one of their own, plus preparing and recording (domain/pace.py)
_SHORTEST_LEASE = 18.0


class DeliverySettings(ServiceSettings):
    """Settings of the sender, its retries and the ledger's retention."""

    SECTION: ClassVar[str] = "delivery"

    pool_max_connections: int = Field(
        default=12, ge=2, le=200, description="Maximum number of Postgres connections per process."
    )
    lease_seconds: float = Field(
        default=45.0,
        ge=5,
        le=600,
        description="Seconds that a worker may hold a chunk; after that the worker counts as dead.",
    )
    poll_milliseconds: int = Field(default=50, ge=5, le=5_000, description="Milliseconds between polls for work.")
    flush_milliseconds: int = Field(
        default=100, ge=5, le=2_000, description="Longest delay before results are recorded, in milliseconds."
    )
    flush_results: int = Field(default=250, ge=1, le=5_000, description="Number of results that trigger recording.")
    bulk_chunk: int = Field(default=500, ge=1, le=500, description="Recipients leased at once in the bulk lane.")
    transactional_chunk: int = Field(
        default=200, ge=1, le=500, description="Recipients leased at once in the transactional lane."
    )
    bulk_outstanding: int = Field(
        default=2_500, ge=1, le=20_000, description="Maximum number of bulk messages in flight per process."
    )
    transactional_outstanding: int = Field(
        default=1_000, ge=1, le=20_000, description="Maximum number of transactional messages in flight per process."
    )
    retry_base_seconds: float = Field(
        default=2.0,
        gt=0,
        le=600,
        description="Upper bound of the wait before the first retry, in seconds; doubled with each attempt.",
    )
    retry_cap_seconds: float = Field(
        default=900.0, gt=0, le=86_400, description="Longest wait between two attempts, in seconds."
    )
    max_attempts: int = Field(default=30, ge=1, le=250, description="Attempts at one message before it fails.")
    max_resends: int = Field(
        default=5, ge=0, le=100, description="Times that an unknown message is sent again if its release says so."
    )
    verify_after_seconds: float = Field(
        default=10.0, gt=0, le=600,
        description="Seconds before the first query about an unknown message (on_unknown: verify); doubled each time.",
    )  # fmt: skip
    verify_certain_seconds: float = Field(
        default=60.0, ge=0, le=3_600,
        description="Seconds after an attempt until its absence from the provider's list proves that it was not sent.",
    )  # fmt: skip
    verify_give_up_seconds: float = Field(
        default=7_200.0, gt=0, le=86_400,
        description="Seconds after an attempt until its provider is no longer queried and the message stays unknown.",
    )  # fmt: skip
    breaker_threshold: int = Field(
        default=20, ge=1, le=10_000, description="Failed calls in a row after which a sender is paused."
    )
    breaker_pause_seconds: float = Field(
        default=2.0,
        gt=0,
        le=600,
        description="First pause of such a sender, in seconds; doubled while it keeps failing.",
    )
    resolve_timeout_seconds: float = Field(
        default=5.0, gt=0, le=30, description="Timeout for `tokens` to resolve a chunk, in seconds."
    )
    retention_days: int = Field(
        default=90, ge=1, le=3_650, description="Days that the ledger keeps its rows; older causes are no longer sent."
    )
    body_days: int = Field(
        default=30, ge=1, le=3_650, description="Days that a settled request keeps its sealed variables."
    )

    @model_validator(mode="after")
    def _a_call_ends_within_its_lease(self) -> "DeliverySettings":
        if self.lease_seconds < _SHORTEST_LEASE:
            raise ValueError(
                f"lease_seconds is {self.lease_seconds:g}, but a mail server has 15 s to answer: no call would ever "
                f"begin. Set it to at least {_SHORTEST_LEASE:g}."
            )
        return self

    @model_validator(mode="after")
    def _asking_can_end_in_a_no(self) -> "DeliverySettings":
        if self.verify_give_up_seconds <= self.verify_certain_seconds:
            raise ValueError(
                "verify_give_up_seconds must exceed verify_certain_seconds: otherwise a message absent from a "
                "provider's list is given up before its absence is certain, and nothing is ever sent again"
            )
        return self

    @model_validator(mode="after")
    def _bodies_go_before_their_rows(self) -> "DeliverySettings":
        if self.body_days > self.retention_days:
            raise ValueError("body_days must not exceed retention_days: a body cannot outlive its request")
        return self
