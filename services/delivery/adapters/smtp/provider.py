"""Sends mail through a relay: several connections work on one bag of mails."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from services.delivery.adapters.per_sender import PerSender
from services.delivery.adapters.smtp.bag import Bag
from services.delivery.adapters.smtp.by_chunks import ByChunks
from services.delivery.adapters.smtp.by_data import ByData
from services.delivery.adapters.smtp.dialogue import Errand
from services.delivery.adapters.smtp.headers import NotAHeader
from services.delivery.adapters.smtp.mime import Composer
from services.delivery.adapters.smtp.pool import Pool
from services.delivery.domain.outbound import Outbound, Sender, SmtpAccount
from services.delivery.domain.outcomes import Deferred
from services.delivery.ports import Settle


@dataclass(frozen=True, slots=True)
class _Line:
    """A sender's pool and composer."""

    pool: Pool
    composer: Composer


class SmtpProvider:
    """The port's mail provider. `verp_key` signs return paths; the clock dates mails."""

    channel = Channel.EMAIL

    def __init__(self, verp_key: bytes, clock: Clock) -> None:
        self._verp_key = verp_key
        self._clock = clock
        self._lines = PerSender(self._make, lambda line: line.pool.retire())

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port. Nothing is handed over after the deadline; envelopes may have been offered."""
        bag = Bag(messages, deadline, settle)
        try:
            line = self._lines.get(sender)
        except NotAHeader as error:
            bag.failure = Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True)
            bag.empty()
            return
        workers = min(line.pool.account.connections, len(messages))
        if workers == 1:
            await _work(line, bag)
        elif workers:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(_work(line, bag))
        bag.empty()

    async def close(self) -> None:
        """Close the idle connections; those in use close when they are released."""
        for line in self._lines.drain():
            line.pool.retire()

    def _make(self, sender: Sender) -> _Line:
        account = sender.account
        if not isinstance(account, SmtpAccount):
            raise TypeError(f"sender {sender.number} is not a mail sender")
        return _Line(Pool(account), Composer(account, self._verp_key, self._clock))


async def _work(line: _Line, bag: Bag) -> None:
    """Use one connection after another until the bag is empty or none can be opened."""
    pool, errand = line.pool, Errand(line.pool, line.composer, bag)
    while bag:
        session = await pool.acquire()
        if isinstance(session, Deferred):
            bag.failure = session
            return
        clean = False
        try:
            dialogue = ByChunks if session.by_chunks else ByData
            clean = await dialogue(session, errand).run()
        finally:  # cancelled halfway: the state of the dialogue is unknown, so the connection is closed
            pool.release(session, clean=clean)
