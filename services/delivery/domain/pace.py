"""How the sender paces itself: sizes, deadlines and waiting times, in seconds unless stated otherwise."""

from dataclasses import dataclass, field

from libs.contracts.outcomes import Lane
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.breaker import BreakerPolicy
from services.delivery.domain.deciding import RetryPolicy

PREPARING = 2.0  # of a lease, for resolving and rendering before the first call begins


@dataclass(frozen=True, slots=True)
class LanePace:
    """One lane. `recipients` per lease; `outstanding` calls at once, beyond which nothing more is leased."""

    recipients: int
    outstanding: int
    groups: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The sender's parameters, from the settings."""

    lease: float = 30.0
    poll: float = 0.1
    flush: float = 0.1
    flush_results: int = 250
    margin: float = 1.0  # left of the lease for recording, beyond the provider's timeout
    lanes: dict[Lane, LanePace] = field(
        default_factory=lambda: {
            Lane.TRANSACTIONAL: LanePace(recipients=50, outstanding=1_000, groups=16),
            Lane.BULK: LanePace(recipients=500, outstanding=2_500, groups=16),
        }
    )
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    # tokens unavailable, release missing: an orderly give-back waits this long, doubled each time
    patience: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5, cap_seconds=60.0))
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    release_alarm: float = 300.0
    recovery: float = 1.0

    @property
    def longest_call(self) -> float:
        """The longest timeout that a sender may have: a call begins only if the lease outlasts its timeout."""
        return self.lease - self.margin - PREPARING
