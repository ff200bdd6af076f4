"""The Protocols that delivery needs: small, named for the need."""

from collections.abc import Callable, Sequence
from typing import Protocol

from libs.contracts.outcomes import Channel
from services.delivery.domain.outbound import Outbound, Sender
from services.delivery.domain.outcomes import Outcome

# ---- Provider

Settle = Callable[[int, Outcome], None]


class Provider(Protocol):
    """Hands rendered messages to one kind of provider. Safe to call concurrently for the same sender."""

    channel: Channel

    async def send(
        self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle
    ) -> None:
        """Call the provider for each message, and `settle(index, outcome)` exactly once per message.

        `settle` is synchronous, cheap, and called from the event loop as each result comes, in any order;
        all have been settled when `send` returns. `deadline` is time.monotonic(): no call begins after it,
        what was not called settles as NOT_CALLED; a call begun before it ends by the sender's own time-out.
        It raises nothing but cancellation; cancelled in mid-call, the unsettled messages are the caller's
        to call unknown.
        """
        ...

    async def close(self) -> None:
        """Finish and close all connections."""
        ...
