"""Settings of delivery."""

from typing import ClassVar

from pydantic import Field, model_validator

from libs.settings import ServiceSettings

# the longest time-out that senders have where nobody set one, and what preparing and recording need (domain/pace.py)
_SHORTEST_LEASE = 18.0


class DeliverySettings(ServiceSettings):
    """What delivery can be told."""

    SECTION: ClassVar[str] = "delivery"

    pool_max_connections: int = Field(
        default=12, ge=2, le=200, description="Postgres connections at most, per process."
    )
    lease_seconds: float = Field(
        default=45.0, ge=5, le=600, description="Seconds that a chunk belongs to one worker; then it counts as dead."
    )
    poll_milliseconds: int = Field(
        default=50, ge=5, le=5_000, description="Milliseconds between looks for work that nobody announced."
    )
    flush_milliseconds: int = Field(
        default=100, ge=5, le=2_000, description="Milliseconds until results are recorded at the latest."
    )
    flush_results: int = Field(default=250, ge=1, le=5_000, description="Results that are recorded together.")
    bulk_chunk: int = Field(default=500, ge=1, le=500, description="Recipients leased at once in the bulk lane.")
    transactional_chunk: int = Field(
        default=200, ge=1, le=500, description="Recipients leased at once in the transactional lane."
    )
    bulk_outstanding: int = Field(
        default=2_500, ge=1, le=20_000, description="Bulk messages being called at once, per process."
    )
    transactional_outstanding: int = Field(
        default=1_000, ge=1, le=20_000, description="Transactional messages being called at once, per process."
    )
    retry_base_seconds: float = Field(
        default=2.0, gt=0, le=600, description="Bound of the first retry's wait in seconds; doubled with each attempt."
    )
    retry_cap_seconds: float = Field(
        default=900.0, gt=0, le=86_400, description="Longest wait between two attempts, in seconds."
    )
    max_attempts: int = Field(default=30, ge=1, le=250, description="Attempts at one message before it has failed.")
    max_resends: int = Field(
        default=5, ge=0, le=100, description="Times that an unknown message is sent again where its release says so."
    )
    verify_after_seconds: float = Field(
        default=10.0, gt=0, le=600,
        description="Seconds until a provider is first asked about an unknown message (on_unknown: verify); doubled.",
    )  # fmt: skip
    verify_certain_seconds: float = Field(
        default=60.0, ge=0, le=3_600,
        description="Seconds after an attempt from when what is not in the provider's list was certainly not sent.",
    )  # fmt: skip
    verify_give_up_seconds: float = Field(
        default=7_200.0, gt=0, le=86_400,
        description="Seconds after an attempt from when its provider is not asked again: the message stays unknown.",
    )  # fmt: skip
    breaker_threshold: int = Field(
        default=20, ge=1, le=10_000, description="Failed calls in a row after which a sender is paused."
    )
    breaker_pause_seconds: float = Field(
        default=2.0, gt=0, le=600, description="First pause of such a sender in seconds; doubled while it stays away."
    )
    resolve_timeout_seconds: float = Field(
        default=5.0, gt=0, le=30, description="Seconds that `tokens` has to resolve a chunk."
    )
    retention_days: int = Field(
        default=90, ge=1, le=3_650, description="Days that the ledger keeps; older causes are no longer sent."
    )
    body_days: int = Field(
        default=30, ge=1, le=3_650, description="Days that a settled request keeps its sealed variables."
    )

    @model_validator(mode="after")
    def _a_call_ends_within_its_lease(self) -> "DeliverySettings":
        if self.lease_seconds < _SHORTEST_LEASE:
            raise ValueError(
                f"lease_seconds is {self.lease_seconds:g}, and a mail server has 15 s to answer: no call would ever "
                f"begin. Give it at least {_SHORTEST_LEASE:g}."
            )
        return self

    @model_validator(mode="after")
    def _asking_can_end_in_a_no(self) -> "DeliverySettings":
        if self.verify_give_up_seconds <= self.verify_certain_seconds:
            raise ValueError(
                "verify_give_up_seconds is not above verify_certain_seconds: what is not in a provider's list would be "
                "given up before that is certain, and nothing would ever be sent again"
            )
        return self

    @model_validator(mode="after")
    def _bodies_go_before_their_rows(self) -> "DeliverySettings":
        if self.body_days > self.retention_days:
            raise ValueError("body_days is larger than retention_days; a body cannot outlive its request")
        return self
