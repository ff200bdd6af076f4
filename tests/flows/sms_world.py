"""The world around the send ledger with Twilio's API on a real socket: our provider, and the simulator behind it."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from libs.clock import FixedClock
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Channel, Lane, Mode, ReceiptKind
from libs.rendering import Rendered, SmsContent, content_digest
from libs.storage.database import Database
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.adapters.twilio import TwilioProvider
from services.delivery.domain.breaker import BreakerPolicy
from services.delivery.domain.callbacks import ReceiptNews
from services.delivery.domain.outbound import Sender, TwilioAccount
from services.delivery.domain.pace import Pace
from services.delivery.domain.releases import PlannedChannel, Step
from services.delivery.domain.standing import Explained, explain
from services.delivery.domain.work import Group
from services.delivery.loops.prepare import prepare
from services.delivery.loops.routes import route
from services.delivery.loops.sender import _left, _outbound
from services.delivery.loops.verifier import Verifier
from services.simulator.app import Simulator
from services.simulator.app import running as simulating
from tests.flows.delivery_world import KEYRING, TENANT, World, now
from tests.flows.simulated import settings

# the numbers script the simulator; `{n}` distinguishes them
TAKEN, NOT_TAKEN = "+4915{n:03}9990408", "+4915{n:03}9991409"  # NOT_TAKEN: refuses only the first call


class SmsTexts:
    """The same text for everybody about one order."""

    needs_links = False

    def render(self, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        content = SmsContent(f"Your order {variables['event'].get('subject')} – is on its way")
        return Rendered(content, content_digest(content), locale or "en")


class SmsSenders:
    """The simulator's account."""

    there = True
    changed_at: datetime | None = None

    def __init__(self, url: str) -> None:
        # half of a lease, which a call must fit into; what is to time out is answered 504
        self.account = TwilioAccount("AC1", "token", "+4930123", "http://127.0.0.1:1/callback", url, timeout_seconds=15)

    async def get(self, wanted: Collection[Any]) -> Mapping[Any, Sender | None]:
        sender = {key: Sender(key[3] or 3, key[0], key[1], key[2], 1, self.account, self.changed_at) for key in wanted}
        return sender if self.there else dict.fromkeys(wanted)


class SmsWorld(World):
    """A world whose messages are texts to phones."""

    def __init__(self, database: Database, simulator: Simulator) -> None:
        self.time = FixedClock(now())
        pace = Pace(flush=0.01, poll=0.02, margin=0.05, breaker=BreakerPolicy(threshold=10_000))
        super().__init__(database, self.time, pace)
        self.simulator = simulator
        self.senders = SmsSenders(simulator.endpoints.sms_url)  # type: ignore[assignment]
        self.provider = TwilioProvider(self.time)  # type: ignore[assignment]
        self.enquiries = {Channel.SMS: TwilioProvider(self.time)}

    async def texted(self, *numbers: str, send: bool = True, **changes: Any) -> Envelope:
        """Create a request for customers with these numbers, and send it as far as possible."""
        keys = [f"customer:{number}" for number in numbers]
        for key, number in zip(keys, numbers, strict=True):
            if key not in self.tokens.recipients:
                self.tokens.add(key, "sms")["addresses"][0]["value"] = number
        plan = [Step(True, [PlannedChannel(Channel.SMS, SmsTexts(), 3)])]
        release = await self.release(["sms"], plan=plan)
        envelope = await self.request(release, keys, **{"on_unknown": "verify"} | changes)
        if send:
            await self.send_all()
        return envelope

    async def message(self) -> Any:
        """Return the only message."""
        [row] = await self.fetch("select notification_id, address_id, attempt, provider_ref from message")
        return row

    async def asked(self, after: timedelta = timedelta(seconds=15)) -> bool:
        """Let time pass, and query what is due."""
        self.time.advance(after)
        return await Verifier(self.line()).run_once()

    def accepted(self) -> int:
        """Return the number of messages that the simulator accepted."""
        return self.simulator.exchange.tallies["sms"].accepted

    async def transitions(self) -> list[tuple[str, str, str]]:
        """Return the published transitions: from, to, and why."""
        events = await self.events("message.recorded")
        return [(t["was"], t["is"], t["reason"]) for event in events for t in event["transitions"]]

    async def explained(self, envelope: Envelope) -> Explained:
        """Explain the request's first notification."""
        reads = PostgresReads(self.database, KEYRING)
        [standing] = await reads.standings((TENANT, Mode.LIVE), [envelope.data.recipients[0].notification_id])
        return explain(standing, self.time())

    async def settled(self, request: UUID) -> bool:
        return bool(await self.value("select settled_at is not null from request where id = $1", request))


@asynccontextmanager
async def sms_world(database: Database, folder: Path, **changed: Any) -> AsyncIterator[SmsWorld]:
    """Yield the world, running; leaving stops it. A call that hangs ends as if a gateway had given up on Twilio."""
    async with simulating(folder, settings(hang_seconds=0.01, listed_seconds=0.0, **changed)) as simulator:
        world = SmsWorld(database, simulator)
        yield world
        await world.provider.close()
        await world.enquiries[Channel.SMS].close()


def receipt_of(message: Any, kind: ReceiptKind) -> ReceiptNews:
    """Return a receipt about a message (notification_id, address_id, attempt, …)."""
    event = f"{message[0]}:{kind.word}"
    return ReceiptNews("model", event, message[0], message[1], message[2], kind, now())


async def die_while_calling(world: SmsWorld, last: str) -> None:
    """Send what is due, like a worker that is killed after handing over only the message to `last`."""
    line = world.line()
    rows = await line.ledger.lease(Lane.BULK, (10, 10), 60.0)
    prepared = await prepare(line, Group(Lane.BULK, rows, time.monotonic()))
    await route(line, prepared, time.monotonic())
    claimed = await line.ledger.claim(prepared)
    [message] = [one for one in claimed.messages if one.address == last]
    assert message.via is not None
    outbound = _outbound(message, _left(message.row, world.time()))
    await line.providers[Lane.BULK][Channel.SMS].send(message.via, [outbound], time.monotonic() + 10, lambda *_: None)
