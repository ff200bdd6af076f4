"""A small world around the send ledger: real Postgres, a scripted provider and `tokens`. A stub renders the texts: the
ledger is tested here, not Liquid.
"""

import asyncio
import base64
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.envelope import Envelope
from libs.contracts.outcomes import Channel, Lane, Mode
from libs.errors import Unavailable
from libs.ids import notification_id, request_id, uuid7
from libs.keyring import Keyring
from libs.messaging.bundles import unbundled
from libs.rendering import PushContent, Rendered, RenderFailed, content_digest
from libs.storage.database import Database
from services.delivery.adapters.postgres.ledger import POOL_SETTINGS, PostgresLedger
from services.delivery.domain.intake import new_request
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import Ambiguous, Outcome, Sent
from services.delivery.domain.pace import Pace
from services.delivery.domain.planning import Address, Recipient
from services.delivery.domain.releases import PlannedChannel, Release, Step, Unusable
from services.delivery.handlers.delivery import Breakers, Line
from services.delivery.loops.sender import LaneSender
from services.delivery.ports import Enquiry, Question, Settle
from tests.conftest import by_role

KEYRING = Keyring(b"a root secret for tests, 32 bytes and more")
TENANT = 1


class PlainTexts:
    """Renders the recipient's first name; fails for `Bobby`."""

    needs_links = False

    def render(self, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        name = variables["recipient"]["first_name"]
        if name == "Bobby":
            raise RenderFailed("Bobby's text does not render")
        body = f"Hello {name}, {variables['event'].get('subject')} {variables['event'].get('id')}"
        content = PushContent(title="Hello", body=body)
        return Rendered(content, content_digest(content), locale or "en")


class KnownTokens:
    """`tokens` as a dictionary; `away` makes it unreachable."""

    def __init__(self) -> None:
        self.recipients: dict[str, Recipient] = {}
        self.away: Callable[[], bool] = lambda: False
        self.questions = 0
        self._ids = itertools.count(1)

    def add(self, key: str, *channels: str, **fields: Any) -> Recipient:
        """Add a recipient with an address on each of the channels."""
        recipient = Recipient(
            id=next(self._ids),
            first_name=fields.get("first_name", "Ada"),
            last_name=None,
            locale=fields.get("locale", "en"),
            zone=None,
            attributes={},
            quiet_hours=fields.get("quiet_hours"),
            consents=fields.get("consents", {}),
            addresses=[self.address(key, channel) for channel in channels],
        )
        self.recipients[key] = recipient
        return recipient

    def address(self, key: str, channel: str) -> Address:
        number = next(self._ids)
        value = f"{channel}-{key}-{number}"
        hash_ = base64.b64encode(hashlib.sha256(value.encode()).digest()).decode()
        kind = "fcm_token" if channel == "push" else channel
        return Address(id=number, channel=channel, kind=kind, value=value, hash=hash_, locale=None)

    async def resolve(self, question: Question) -> Mapping[str, Recipient]:
        self.questions += 1
        await asyncio.sleep(0)
        if self.away():
            raise Unavailable("tokens is away")
        return {key: self.recipients[key] for key in question.keys if key in self.recipients}


class KnownReleases:
    """Releases by id; others are not available yet."""

    def __init__(self) -> None:
        self.releases: dict[UUID, Release] = {}

    async def get(self, wanted: Collection[tuple[UUID, int, Mode]]) -> Mapping[UUID, Release | Unusable]:
        return {id_: self.releases.get(id_, Unusable("not published")) for id_, _, _ in wanted}


class AnySenders:
    """Every sender exists."""

    timeout = 0.2

    async def get(self, wanted: Collection[Any]) -> Mapping[Any, Sender | None]:
        account = FcmAccount("test", static_token="t", timeout_seconds=self.timeout)
        return {
            key: Sender(key[3] or int(key[2]), key[0], key[1], key[2], 1, account) for key in wanted if key[3] != 99
        } | {key: None for key in wanted if key[3] == 99}


@dataclass
class Call:
    """One call that a provider saw."""

    tag: str
    attempt: int
    outcome: Outcome
    accepted: bool


@dataclass
class ScriptedProvider:
    """A provider that answers as `answer` says and records every call."""

    channel: Channel = Channel.PUSH
    answer: Callable[[Outbound], Outcome] = lambda _: Sent("ref")
    accepts_silently: Callable[[Outbound], bool] = lambda _: False  # the truth behind an Ambiguous
    calls: list[Call] = field(default_factory=list)
    pause: Callable[[], float] = lambda: 0.0

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        for index, message in enumerate(messages):
            if pause := self.pause():
                await asyncio.sleep(pause)
            outcome = self.answer(message)
            accepted = isinstance(outcome, Sent) or (isinstance(outcome, Ambiguous) and self.accepts_silently(message))
            self.calls.append(Call(message.tag, message.attempt, outcome, accepted))
            settle(index, outcome)
            await asyncio.sleep(0)

    async def close(self) -> None:
        return None


class World:
    """One test's world."""

    def __init__(self, database: Database, clock: Callable[[], datetime], pace: Pace | None = None) -> None:
        self.database = database
        self.clock = clock
        self.ledger = PostgresLedger(database, clock, KEYRING)
        self.tokens = KnownTokens()
        self.releases = KnownReleases()
        self.senders = AnySenders()
        self.provider = ScriptedProvider()
        self.enquiries: dict[Channel, Enquiry] = {}
        self.pace = pace or Pace(flush=0.01, poll=0.02, margin=0.05)

    def line(self, ledger: Any = None, seed: int = 1) -> Line:
        """Return the dependencies of one worker process."""
        providers = {channel: self.provider for channel in Channel}
        return Line(
            ledger=ledger or self.ledger,
            doubts=ledger or self.ledger,
            tokens=self.tokens,
            releases=self.releases,
            senders=self.senders,
            providers={lane: providers for lane in Lane},
            enquiries=dict(self.enquiries),
            keyring=KEYRING,
            clock=self.clock,
            pace=self.pace,
            breakers=Breakers(self.pace),
            draw=random.Random(seed).random,
        )

    async def release(self, *steps: Sequence[str], **changes: Any) -> Release:
        """Create a release whose plan has these steps; each uses all of its channels."""
        plan = [
            Step(True, [PlannedChannel(Channel(Channel.parse(c)), PlainTexts(), 0) for c in step]) for step in steps
        ]
        release = Release(
            id=uuid7(),
            tenant=TENANT,
            mode=Mode.LIVE,
            communication="parcel-shipped",
            version=1,
            marketing=False,
            topic=None,
            obeys_quiet_hours=False,
            default_locale="en",
            plan=plan,
            channels=tuple(sorted({channel for step in steps for channel in step})),
        )
        release = replace(release, **changes)
        self.releases.releases[release.id] = release
        row = (release.id, TENANT, release.communication, len(plan))
        await self.execute(
            "insert into release (id, tenant, mode, communication, version, digest, active, steps)"
            " values ($1, $2, 1, $3, 1, '', true, $4)",
            *row,
        )
        return release

    async def request(self, release: Release, keys: Sequence[str], **changes: Any) -> Envelope:
        """Create and store a request."""
        envelope = requested(release, keys, self.clock(), **changes)
        await self.ledger.accept([new_request(envelope, KEYRING)])
        return envelope

    async def send_all(self, lane: Lane = Lane.BULK) -> None:
        """Send until nothing is due. What becomes due meanwhile is not: that depends on how fast the machine is."""
        moment, clock = self.clock(), self.ledger.clock
        self.ledger.clock = lambda: moment
        sender = LaneSender(replace(self.line(), clock=self.ledger.clock), lane)
        while await sender.run_once():
            pass
        self.ledger.clock = clock

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        async with self.database.acquire() as connection:
            return list(await connection.fetch(query, *values))

    async def value(self, query: str, *values: Any) -> Any:
        return (await self.fetch(query, *values))[0][0]

    async def execute(self, query: str, *values: Any) -> None:
        async with self.database.acquire() as connection:
            await connection.execute(query, *values)

    async def statuses(self) -> Counter[tuple[int, int]]:
        """Count messages by (status, reason)."""
        return Counter((row[0], row[1]) for row in await self.fetch("select status, reason from message"))

    async def account(self, request: UUID) -> dict[str, int]:
        """Return the counters of a request that are not zero."""
        rows = await self.fetch(
            "select recipients, extra, pending, sent, failed, skipped, suppressed, unknown from request where id = $1",
            request,
        )
        return {name: value for name, value in rows[0].items() if value}

    async def events(self, type_: str) -> list[Any]:
        """Return outbox payloads of a type, as plain JSON."""
        rows = await self.fetch("select * from outbox where type = $1 order by id", type_)
        return [msgspec.json.decode(row["payload"]) for row in unbundled(rows)]


def requested(release: Release, keys: Sequence[str], now: datetime, **changes: Any) -> Envelope:
    """Return the command, in its envelope."""
    cause = changes.pop("cause", None) or uuid7()
    part = changes.pop("part", 0)
    command = NotificationRequested(
        request_id=request_id(cause, release.id, part),
        cause_id=cause,
        cause_kind="event",
        release_id=release.id,
        communication=release.communication,
        lane=changes.pop("lane", "bulk"),
        on_unknown=changes.pop("on_unknown", "leave"),
        expires_at=changes.pop("expires_at", None) or now + timedelta(days=1),
        event={"id": f"e-{cause}", "type": "parcel.shipped", "subject": "order-1", "data": {}},
        recipients=tuple(
            RequestedRecipient(key=key, notification_id=notification_id(cause, release.communication, key))
            for key in keys
        ),
        **changes,
    )
    return Envelope(
        id=uuid7(),
        type=command.TYPE,
        source=command.SOURCE,
        time=now,
        tenant=TENANT,
        mode=Mode.LIVE,
        key=str(cause),
        data=command,
        subject="order-1",
    )


async def opened(dsn: str) -> Database:
    """Open the ledger's pool, with the role and settings of production, and limits that no slow machine reaches."""
    database = Database(by_role(dsn, "delivery"), "delivery", max_size=12, server_settings=POOL_SETTINGS)
    database.acquire_seconds = database.statement_timeout_seconds = 120.0
    await database.open()
    return database


def now() -> datetime:
    return datetime.now(UTC)
