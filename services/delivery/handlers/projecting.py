"""Events of other services about releases, addresses and people; they arrive shuffled, late and twice."""

from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Scope
from libs.contracts.reasons import Reason
from services.delivery.domain.steering import KnownRelease, Suppression
from services.delivery.handlers.delivery import Delivery


async def project_releases(deps: Delivery, batch: Sequence[Envelope]) -> None:
    """Record which releases exist and which were retired; the bundle is fetched when it is needed."""
    await deps.projections.know(
        [
            KnownRelease(
                envelope.data.release_id,
                envelope.tenant,
                int(envelope.mode),
                envelope.data.communication,
                envelope.data.version,
                envelope.data.digest,
                envelope.data.active,
            )
            for envelope in batch
        ]
    )


async def project_suppressions(deps: Delivery, batch: Sequence[Envelope]) -> None:
    """Suppress the address from the next claim on, or free it again."""
    await deps.projections.suppress(
        [
            Suppression(
                envelope.tenant,
                int(envelope.mode),
                envelope.data.address_hash,
                int(Scope.parse(envelope.data.scope)),
                int(Reason[envelope.data.reason.upper()]),
                envelope.data.version,
                envelope.data.active,
            )
            for envelope in batch
        ]
    )


async def erase_recipients(deps: Delivery, batch: Sequence[Envelope]) -> None:
    """Wipe people from the requests that name them; unsent messages end as skipped(recipient_erased)."""
    await deps.projections.erase([(e.tenant, e.mode, e.data.recipient, e.data.at) for e in batch])
