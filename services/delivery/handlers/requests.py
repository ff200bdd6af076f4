"""Storing requests. The bus handler only stores; it never sends."""

import asyncio
from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from services.delivery.domain.intake import NewRequest, new_request
from services.delivery.handlers.delivery import Delivery

_SEALS_AT_A_STRETCH = 500  # some milliseconds; then the loop yields, so that a one-time code gets its turn


async def store_requests(deps: Delivery, batch: Sequence[Envelope]) -> None:
    """Store new requests with their work, and wake the sender. Raises Invalid for a wrong one; the bus then delivers
    them one by one."""
    requests: list[NewRequest] = []
    sealed = 0
    for envelope in batch:
        requests.append(new_request(envelope, deps.line.keyring))
        sealed += len(envelope.data.recipients)
        if sealed >= _SEALS_AT_A_STRETCH:
            sealed = 0
            await asyncio.sleep(0)
    await deps.intake.accept(requests)
    for lane in {request.lane for request in requests}:
        deps.line.wake(lane)
