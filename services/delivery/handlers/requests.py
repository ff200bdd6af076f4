"""Storing what is asked for. The bus handler only stores; it never sends."""

from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from services.delivery.domain.intake import new_request
from services.delivery.handlers.delivery import Delivery


async def store_requests(deps: Delivery, batch: Sequence[Envelope]) -> None:
    """Stores requests that are new with their work, and wakes the sender. Raises Invalid for one that is wrong:
    then the bus brings them one by one."""
    requests = [new_request(envelope, deps.line.keyring) for envelope in batch]
    await deps.intake.accept(requests)
    for lane in {request.lane for request in requests}:
        deps.line.wake(lane)
