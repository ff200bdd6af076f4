"""Sends pushes: a few HTTP/2 connections per sender, each writing dozens of pushes at once."""

from collections.abc import Sequence

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from services.delivery.adapters.fcm.chunk import Chunk
from services.delivery.adapters.fcm.line import Line
from services.delivery.adapters.per_sender import PerSender
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import Deferred
from services.delivery.ports import Settle


class FcmProvider:
    """The port's push provider. The clock serves `Retry-After` dates and APNs' expiry."""

    channel = Channel.PUSH

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(self._make, lambda line: line.pool.retire())

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        if not messages:
            return
        try:
            line = self._lines.get(sender)
        except ValueError as error:  # its service account or its URL
            outcome = Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True)
            for index in range(len(messages)):
                settle(index, outcome)
            return
        await line.carry(Chunk(line.desk, messages, deadline, settle))

    async def close(self) -> None:
        for line in self._lines.drain():
            await line.close()

    def _make(self, sender: Sender) -> Line:
        account = sender.account
        if not isinstance(account, FcmAccount):
            raise TypeError(f"sender {sender.number} is not a push sender")
        return Line(account, self._clock)
