"""Senders for the providers: read from the table, and directed to the simulator if required."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from libs.contracts.outcomes import Channel, Mode
from libs.errors import DepescheError
from libs.service import SimulatorEndpoints
from libs.telemetry import get_logger
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.simulated_accounts import simulated
from services.delivery.domain.outbound import Account, Sender, TwilioAccount
from services.delivery.domain.sender_accounts import callback_url, join_secrets
from services.delivery.domain.steering import SIMULATOR, SenderSetup

log = get_logger(__name__)

_REMEMBER_SECONDS = 5.0
_MOST = 32_767
_STEP = 16  # more than there are channels

Key = tuple[int, Mode, Channel, int]
Known = dict[tuple[Channel, int], Sender | None]  # all configured senders; None: not usable as it stands


@dataclass(slots=True)
class KnownSenders:
    """A tenant's senders, cached for five seconds. Test traffic goes to the simulator and nowhere else; so does a
    number that nobody configured, if the suite runs with a simulator."""

    operations: PostgresOperations
    simulator: SimulatorEndpoints | None
    public_url: str
    _known: dict[tuple[int, Mode], tuple[float, Known]] = field(default_factory=dict)

    async def get(self, wanted: Collection[Key]) -> Mapping[Key, Sender | None]:
        """Return senders by (tenant, mode, channel, number); number 0 is the first of the channel."""
        found: dict[Key, Sender | None] = {}
        for tenant, mode, channel, number in wanted:
            known = await self._of(tenant, mode)
            found[tenant, mode, channel, number] = self._pick(known, (tenant, mode, channel, number))
        return found

    async def _of(self, tenant: int, mode: Mode) -> Known:
        remembered = self._known.get((tenant, mode))
        if remembered is not None and remembered[0] > time.monotonic():
            return remembered[1]
        setups = await self.operations.senders((tenant, mode), 0, _MOST)
        made = {(setup.channel, setup.number): self._sender(setup) for setup in setups}
        self._known[tenant, mode] = (time.monotonic() + _REMEMBER_SECONDS, made)
        return made

    def _pick(self, known: Known, key: Key) -> Sender | None:
        tenant, mode, channel, number = key
        if number == 0:
            number = min((n for c, n in known if c is channel), default=0) or _free_number(known, channel)
        if (channel, number) in known:
            return known[channel, number]  # an unreadable sender makes its messages wait; it never becomes simulated
        if self.simulator is None or any(n == number for _, n in known):
            return None  # not configured, or configured for another channel
        callback = callback_url(self.public_url, tenant, mode, number)
        account = simulated(channel, self.simulator, None, callback)
        return Sender(number, tenant, mode, channel, 0, account)

    def _sender(self, setup: SenderSetup) -> Sender | None:
        try:
            account = self._account(setup)
        except (DepescheError, ValueError, TypeError) as error:
            log.error("sender_unreadable", sender=setup.number, tenant=setup.tenant, error=type(error).__name__)
            return None
        if account is None:
            return None
        return Sender(setup.number, setup.tenant, setup.mode, setup.channel, setup.version, account, setup.changed_at)

    def _account(self, setup: SenderSetup) -> Account | None:
        callback = callback_url(self.public_url, setup.tenant, setup.mode, setup.number)
        own = None if setup.kind == SIMULATOR else join_secrets(setup.channel, setup.account, setup.secrets)
        if setup.mode is Mode.TEST or own is None:
            return simulated(setup.channel, self.simulator, own, callback) if self.simulator else None
        return replace(own, callback_url=callback) if isinstance(own, TwilioAccount) else own


def _free_number(known: Known, channel: Channel) -> int:
    """Return the number of a channel's simulated default: its own in the series, unless a sender has that."""
    taken = {number for _, number in known}
    return next(number for number in range(int(channel), 32_768, _STEP) if number not in taken)
