"""Topics owned by others, in whatever format they publish: the sidecar delivers the bytes exactly as sent.

The subscription uses `rawPayload`: without it the sidecar parses JSON numbers into floats and delivers nothing that
is not JSON. It names no dead-letter topic, because that would be on a broker that is not ours. The service stores
messages that it cannot understand; it asks for an entry again only while its database is unavailable.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg
import msgspec

from libs.errors import DepescheError, Transient
from libs.messaging.bus import Message, OtherTopics, Topic
from libs.telemetry import get_logger

ROUTE = "/dapr/topics"
SUCCESS, RETRY = "SUCCESS", "RETRY"

log = get_logger(__name__)


class Entry(msgspec.Struct, frozen=True, rename={"id": "entryId"}):
    """One message of a batch; `event` is base64 of its bytes."""

    id: str
    event: Any = None
    metadata: dict[str, str] | None = None


class Batch(msgspec.Struct, frozen=True, rename={"component": "pubsubname"}):
    """The body that bulk subscribe posts."""

    component: str
    topic: str
    entries: list[Entry]


class Refused(NamedTuple):
    """A message that this service can never process, and why."""

    entry: str
    body: bytes
    reason: str


Bury = Callable[[Topic, Sequence[Refused]], Awaitable[bool]]  # False if not even that could be written

_decoder = msgspec.json.Decoder(Batch)


def read(body: bytes) -> Batch:
    """Parse the batch. Raises msgspec.DecodeError or UnicodeDecodeError."""
    return _decoder.decode(body)


def subscription(topic: Topic, bulk: Mapping[str, Any]) -> dict[str, Any]:
    """Return Dapr's programmatic subscription to the topic."""
    return {
        "pubsubname": topic.component,
        "topic": topic.name,
        "routes": {"default": ROUTE},
        "metadata": {"rawPayload": "true"},
        "bulkSubscribe": bulk,
    }


async def take(others: OtherTopics, batch: Batch, bury: Bury) -> dict[str, str]:
    """Pass a batch to its service; return the status of each entry."""
    intake = _Intake(others, Topic(batch.component, batch.topic))
    readable = []
    for entry in batch.entries:
        message = _message(entry)
        if message is None:
            # a subscription without rawPayload: its numbers may have changed
            why = "the sidecar did not deliver the raw bytes; the subscription lacks rawPayload"
            intake.refused.append(Refused(entry.id, msgspec.json.encode(entry.event), why))
        else:
            readable.append((entry.id, message))
    await intake.give(readable)
    if intake.refused and not await bury(intake.topic, intake.refused):
        intake.again.update(refused.entry for refused in intake.refused)
    return {entry.id: RETRY if entry.id in intake.again else SUCCESS for entry in batch.entries}


@dataclass(slots=True)
class _Intake:
    """One incoming batch."""

    others: OtherTopics
    topic: Topic
    again: set[str] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)

    async def give(self, entries: Sequence[tuple[str, Message]]) -> None:
        """Pass them together, then one by one if that fails, so that a failure does not affect its neighbours."""
        if not entries:
            return
        failure = await self._attempt([message for _, message in entries])
        if failure is None:
            return
        if _store_away(failure):
            self.again.update(id_ for id_, _ in entries)
        elif len(entries) == 1:
            ((id_, message),) = entries
            self.refused.append(Refused(id_, message.body, f"{type(failure).__name__}: {failure}"))
        else:
            for entry in entries:
                await self.give([entry])

    async def _attempt(self, messages: Sequence[Message]) -> Exception | None:
        try:
            await self.others.take(self.topic, messages)
        except Exception as error:
            if not _store_away(error):
                log.error("messages_not_taken", type=self.topic.name, count=len(messages), exc_info=error)
            return error
        return None


def _store_away(error: Exception) -> bool:
    """Whether the error says that a store is unavailable, and nothing about the messages."""
    if isinstance(error, DepescheError):
        return isinstance(error, Transient)
    refused = isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError)
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.PostgresError) and not refused


def _message(entry: Entry) -> Message | None:
    try:
        body = base64.b64decode(entry.event, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    headers = {_without_nul(name).lower(): _without_nul(value) for name, value in (entry.metadata or {}).items()}
    return Message(body, headers)


def _without_nul(text: str) -> str:
    return text.replace("\0", "")  # a header may contain any bytes, and Postgres text cannot hold NUL
