"""The routes that the sidecar calls: which topics the service subscribes to, and the delivery of their batches.

    GET  /dapr/subscribe        the subscriptions, from the same table that the embedded bus reads
    POST /dapr/events/{topic}   a batch, with a status for each entry
    POST /dapr/topics           a batch of a topic owned by others, if the service subscribes to any (see `topics`)

Bodies are parsed by hand (`brought`): a 422 from FastAPI would make the sidecar redeliver a poison message for ever,
a 404 would drop it. An event that a handler fails to process is owed in the service's own database, where its relay
retries it with back-off and finally stores it as a dead letter, exactly as on the embedded bus; if a message carries
many events, only that one. The answer is RETRY only if even that could not be written. Then the sidecar retries, and
finally moves the message to the service's dead-letter topic, which is consumed here too, until it can be written.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
from fastapi import Depends, Request, Response

from libs.auth import Guard
from libs.errors import Unauthorized, Unavailable
from libs.messaging import owed as debts
from libs.messaging import topics
from libs.messaging.brought import read, rows_of, unreadable
from libs.messaging.bus import OtherTopics, Subscriber, Topic
from libs.messaging.dapr import Sidecar, topic_of
from libs.messaging.delivering import deliver
from libs.messaging.reading import Failure, decoded, grouped
from libs.messaging.topics import RETRY, SUCCESS, Refused
from libs.storage.database import Database
from libs.telemetry import get_logger
from libs.web import Router

MOST_MESSAGES = 100
AWAIT_MILLISECONDS = 20
MOST_EVENTS = 1_000  # passed to a handler at once, however many arrived together
_BULK = {"enabled": True, "maxMessagesCount": MOST_MESSAGES, "maxAwaitDurationMs": AWAIT_MILLISECONDS}

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepts what the sidecar delivers to one service."""

    app_id: str
    database: Database
    subscribers: Sequence[Subscriber]

    async def take(self, events: Sequence[Any]) -> str:
        """Deliver the events to their subscribers; return SUCCESS if all are processed, owed or stored, else RETRY."""
        known = {one.event_type: one for one in self.subscribers}
        owed: list[debts.Owed] = []
        rows = []
        for row, unread in (found for event in events for found in rows_of(event)):
            if unread is None and row["type"] not in known:
                unread = Failure(f"{self.app_id} does not subscribe to {row['type']}", final=True)
            if unread is None:
                rows.append(row)
            else:
                owed.append((row, self.app_id, unread))
        for type_, group in grouped(rows).items():
            entries, failures = decoded(group)
            for start in range(0, len(entries), MOST_EVENTS):
                failures += await deliver(known[type_], entries[start : start + MOST_EVENTS])
            owed += [(row, self.app_id, failure) for row, failure in failures]
        return SUCCESS if await self._remembered(owed) else RETRY

    async def bury(self, topic: Topic, refused: Sequence[Refused]) -> bool:
        """Store messages of others that can never be processed as dead letters; return False if Postgres is
        unavailable."""
        about = {"type": topic.name, "source": f"{topic.component}/{topic.name}"}
        return await self._remembered(
            [
                (unreadable(about) | {"payload": one.body}, self.app_id, Failure(one.reason, final=True))
                for one in refused
            ]
        )

    async def _remembered(self, owed: Sequence[debts.Owed]) -> bool:
        if not owed:
            return True
        try:
            async with self.database.transaction() as connection:
                await debts.remember(connection, owed)
        except (Unavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.error("events_not_kept", service=self.app_id, count=len(owed), error=str(error))
            return False
        return True

    def dead_letter_topic(self) -> str:
        return f"{self.app_id}.dead"

    def subscriptions(self, pubsub: str) -> list[dict[str, Any]]:
        """Return Dapr's programmatic subscriptions: one per event type, and one for the dead-letter topic."""
        ours = [topic_of(one.event_type) for one in self.subscribers]
        # The dead-letter topic names itself too: while the database is unavailable, a broker may otherwise drop what
        # failed twice. As raw bytes: the sidecar gives up at once on what it cannot parse as JSON, and would do so here
        # for ever.
        return [
            {
                "pubsubname": pubsub,
                "topic": topic,
                "routes": {"default": f"/dapr/events/{topic}"},
                "metadata": {"rawPayload": "true"},
                "bulkSubscribe": _BULK,
                "deadLetterTopic": self.dead_letter_topic(),
            }
            for topic in [*ours, *([self.dead_letter_topic()] if ours else [])]
        ]


class SidecarGuard(Guard):
    """The application's own sidecar: its token, compared in constant time."""

    kind = "sidecar"

    def __init__(self, token: str) -> None:
        super().__init__("dapr")
        self._token = token.encode()

    async def __call__(self, request: Request) -> None:
        given = request.headers.get("dapr-api-token", "").encode("latin-1")
        if not self._token or not hmac.compare_digest(given, self._token):
            raise Unauthorized("The token is not the one of this application's sidecar.")


def router_of(intake: Intake, sidecar: Sidecar, others: OtherTopics | None = None) -> Router:
    """Return the routes for a service beside this sidecar. `others`: the topics of others that it consumes."""
    router = Router(tags=["bus"])
    guard = [Depends(SidecarGuard(sidecar.app_token))]

    @router.get("/dapr/subscribe", dependencies=guard, include_in_schema=False)
    async def subscribe() -> list[dict[str, Any]]:
        return [*intake.subscriptions(sidecar.pubsub), *(await _subscribed(others))]

    @router.post("/dapr/events/{topic}", dependencies=guard, include_in_schema=False)
    async def events(request: Request) -> Response:
        body = await request.body()
        try:
            entries = _entries(body)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
            return await _kept_whole(intake, body)
        status = await intake.take([event for _, event in entries])
        return _json({"statuses": [{"entryId": id_, "status": status} for id_, _ in entries]})

    if others is None:
        return router

    @router.post(topics.ROUTE, dependencies=guard, include_in_schema=False)
    async def messages(request: Request) -> Response:
        body = await request.body()
        try:
            batch = topics.read(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return await _kept_whole(intake, body)
        statuses = await topics.take(others, batch, intake.bury)
        return _json({"statuses": [{"entryId": id_, "status": status} for id_, status in statuses.items()]})

    return router


async def _subscribed(others: OtherTopics | None) -> list[dict[str, Any]]:
    try:
        return [topics.subscription(topic, _BULK) for topic in await others.wanted()] if others else []
    except (Unavailable, asyncpg.PostgresError, OSError) as error:
        # the suite's own events must come in anyway; the monitoring of the topics shows what is missing
        log.error("topics_not_known", error=str(error))
        return []


async def _kept_whole(intake: Intake, body: bytes) -> Response:
    """Store a body that is not a bulk-subscribe batch at all: it has no entries to answer for."""
    return _json({"status": await intake.take([body.decode(errors="replace")])})


def _json(answer: Mapping[str, Any]) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


class _Entry(msgspec.Struct, frozen=True):
    """One entry of a batch; `event` is base64 of the CloudEvent's bytes."""

    entryId: str
    event: bytes


class _Batch(msgspec.Struct, frozen=True):
    entries: list[_Entry]


_batch = msgspec.json.Decoder(_Batch)


def _entries(body: bytes) -> list[tuple[str, Any]]:
    """Return the entries' ids with their events, parsed if possible, else as they came. Raises the JSON decoder's
    errors if the body is not a batch."""
    try:
        return [(entry.entryId, read(entry.event)) for entry in _batch.decode(body).entries]
    except msgspec.ValidationError:  # one entry has no bytes: check each of them
        found = msgspec.json.decode(body)["entries"]
        return [(entry["entryId"], read(entry.get("event"))) for entry in found]
