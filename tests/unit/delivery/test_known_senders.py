"""Which account a message uses: no live traffic is ever simulated by mistake, no default lacks a number."""

from dataclasses import dataclass, field, replace
from typing import cast

from libs.contracts.outcomes import Channel, Mode
from libs.service import SimulatorEndpoints
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.senders import KnownSenders
from services.delivery.domain.outbound import FcmAccount, Sender
from services.delivery.domain.steering import PROVIDER, SIMULATOR, SenderSetup

SIMULATED = SimulatorEndpoints("https://127.0.0.1:1", "/ca.pem", "127.0.0.1", 25, "http://127.0.0.1:2", "h", "c")
PUSH = SenderSetup(1, Mode.LIVE, 1, "Shop", Channel.PUSH, PROVIDER, {"project": "shop"}, {"static_token": "t"})


@dataclass
class Operations:
    """Stands in for the table of senders."""

    setups: list[SenderSetup] = field(default_factory=list)

    async def senders(self, scope: tuple[int, Mode], after: int, limit: int) -> list[SenderSetup]:
        return [setup for setup in self.setups if (setup.tenant, setup.mode) == scope and setup.number > after]


async def picked(
    channel: Channel, number: int, *setups: SenderSetup, simulator: SimulatorEndpoints | None = SIMULATED
) -> Sender | None:
    known = KnownSenders(cast(PostgresOperations, Operations(list(setups))), simulator, "http://suite")
    key = (1, Mode.LIVE, channel, number)
    return (await known.get([key]))[key]


async def test_the_default_is_the_lowest_number_of_its_channel() -> None:
    found = await picked(Channel.PUSH, 0, replace(PUSH, number=9), replace(PUSH, number=5))
    assert found is not None
    assert (found.number, found.account) == (5, FcmAccount("shop", static_token="t"))


async def test_a_channel_without_a_sender_is_simulated_despite_a_number_clash() -> None:
    taken = replace(PUSH, number=int(Channel.EMAIL))
    found = await picked(Channel.EMAIL, 0, taken)
    assert found is not None
    assert (found.account.host, found.number) == ("127.0.0.1", int(Channel.EMAIL) + 16)  # type: ignore[union-attr]


async def test_without_a_simulator_the_default_waits_for_a_sender() -> None:
    assert await picked(Channel.EMAIL, 0, PUSH, simulator=None) is None


async def test_a_sender_with_an_unreadable_account_waits_and_is_never_simulated() -> None:
    broken = replace(PUSH, account={"project": 17})
    assert await picked(Channel.PUSH, 1, broken) is None
    assert await picked(Channel.PUSH, 0, broken, replace(PUSH, number=2)) is None


async def test_a_simulator_sender_is_simulated() -> None:
    found = await picked(Channel.PUSH, 1, replace(PUSH, kind=SIMULATOR, account={}, secrets={}))
    assert found is not None
    assert found.account.url == SIMULATED.fcm_url  # type: ignore[union-attr]
