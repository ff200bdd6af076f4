"""The policy's settings, as configured, and with overrides that somebody would like to try."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from services.bounce.domain.policy import Policy
from services.bounce.settings import BounceSettings


def policy_of(settings: BounceSettings, tried: Mapping[str, Any] | None = None) -> Policy:
    """Build the policy of the settings, with overrides by name."""
    if tried:
        settings = settings.model_copy(update=dict(tried))
    return Policy(
        trusted_providers=frozenset(settings.trusted_providers),
        second_proof=timedelta(hours=settings.second_proof_hours),
        proofs_within=timedelta(days=settings.proofs_days),
        delivered_after=timedelta(hours=settings.delivered_after_hours),
        recent_delivery=timedelta(days=settings.recent_delivery_days),
        recent_reading=timedelta(days=settings.recent_reading_days),
        score_days=settings.score_days,
        score_within=timedelta(days=settings.score_within_days),
    )
