"""The timeline in MongoDB: one document per message, with the same content in whichever order its events arrive.

`_id` is the message's id; it starts with the notification's time bits, so ids sort by age.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from pymongo import AsyncMongoClient, UpdateOne
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError

from libs.contracts.envelope import Envelope
from libs.errors import Unavailable
from libs.ids import parse_message_id
from libs.storage.erasures import Erased
from services.history.adapters.mongo import documents
from services.history.adapters.mongo.documents import NAMES, Owner, Write, given
from services.history.adapters.mongo.schema import ERASED, MESSAGES, check, prepare
from services.history.adapters.outage import Outage
from services.history.domain.facts import Message
from services.history.ports import Search

_BULK = 1_000
_BULK_OF_STAND_IN = 40  # FerretDB uses a connection for each document of a command, and has a hundred
_MESSAGES_A_NOTIFICATION = 6
_LEAST_MESSAGES = 100  # a single notification is returned whole: a recipient has at most twenty addresses per channel
_TRIES = 3
_DUPLICATE_KEY = 11_000  # two concurrent upserts of a new document: the second attempt finds it
# the document's fault, not the server's: wrong value, shape refused, too large. Retrying would not help.
_NEVER = frozenset({2, 121, 10_334, 17_419})


class MongoTimeline:
    """Messages as documents. Raises Unavailable when the server does not answer within `timeout_seconds`."""

    def __init__(self, url: str, *, retention_days: int, timeout_seconds: float) -> None:
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            tz_aware=True,
            uuidRepresentation="standard",
            timeoutMS=int(timeout_seconds * 1_000),
            appname="depesche",
        )
        self._database = self._client.get_default_database("depesche_history")
        self._messages = self._database[MESSAGES]
        self._erased = self._database[ERASED]
        self._retention_days = retention_days
        self._bulk = 0  # 0: not prepared
        self._outage = Outage("MongoDB")
        self._preparing = asyncio.Lock()

    async def aclose(self) -> None:
        await self._client.close()

    async def check(self) -> str | None:
        """Return what is wrong; None: nothing. Raises Unavailable."""
        with answering():
            return await check(self._database)

    async def record_messages(self, batch: Sequence[Envelope]) -> None:
        """Record transitions and the fields that their messages share."""
        await self._record(documents.of_messages(batch))

    async def record_receipts(self, batch: Sequence[Envelope]) -> None:
        """Record receipts; one may arrive before its message's transitions."""
        await self._record(documents.of_receipts(batch))

    async def record_rejections(self, batch: Sequence[Envelope]) -> None:
        """Record the refusing replies of providers."""
        await self._record(documents.of_rejections(batch))

    async def messages(self, wanted: Search) -> list[Message]:
        """Return the messages of the newest `limit` notifications that match, newest first."""
        with self._outage.watched(), answering():
            await self._ready()
            notifications = await self._notifications(wanted)
            query = _query(wanted, notifications)
            if query is None:
                return []
            most = max(wanted.limit, len(notifications))
            limit = max(_LEAST_MESSAGES, most * _MESSAGES_A_NOTIFICATION)
            found = await self._messages.find(query).sort("_id", -1).limit(limit).to_list(None)
        messages = [documents.message_of(document) for document in found]
        order = list(dict.fromkeys(message.notification_id for message in messages))
        if len(found) == limit and len(order) > 1:
            order.pop()  # the limit may have cut it off
        kept = set(order[:most])
        whole = [message for message in messages if message.notification_id in kept]
        return sorted(whole, key=lambda m: (m.notification_id, -m.address_id), reverse=True)

    async def forget(self, erased: Sequence[Erased]) -> None:
        """Make documents nameless; late events are stored nameless too. The mark precedes the wipe: see _record."""
        with self._outage.watched(), answering():
            await self._ready()
            marks = [
                UpdateOne({"_id": _erased_id((tenant, mode, recipient))}, {"$max": {"at": at}}, upsert=True)
                for tenant, mode, recipient, at in erased
            ]
            await self._write(self._erased, marks)
            for tenant, mode, recipient, at in erased:
                await self._wipe(_names_of((tenant, mode, recipient), at))

    async def _record(self, writes: dict[str, Write]) -> None:
        """Write, then check for erasures again: recipients erased between the first check and the write are wiped."""
        if not writes:
            return
        owners = {write.owner for write in writes.values() if write.owner is not None}
        with self._outage.watched(), answering():
            await self._ready()
            gone = await self._gone(owners)
            await self._write(self._messages, [write.operation(id_, gone) for id_, write in sorted(writes.items())])
            for owner, at in (await self._gone(owners)).items():
                if owner not in gone:
                    await self._wipe(_names_of(owner, at))
            # words without a name, for a message that has lost its own
            if any(write.owner is None for write in writes.values()):
                await self._wipe({"_id": {"$in": list(writes)}, "erased": True, "words": {"$exists": True}})

    async def _ready(self) -> None:
        """Create indexes and rules before the first use; if the server is unavailable, the next use tries again."""
        async with self._preparing:
            if not self._bulk:
                real = await prepare(self._database, self._retention_days)
                self._bulk = _BULK if real else _BULK_OF_STAND_IN

    async def _write(self, collection: Any, operations: Sequence[UpdateOne]) -> None:
        for start in range(0, len(operations), self._bulk):
            some = operations[start : start + self._bulk]
            for left in reversed(range(_TRIES)):
                try:
                    await collection.bulk_write(some, ordered=False)
                    break
                except BulkWriteError as error:
                    if not left or _codes(error) != {_DUPLICATE_KEY}:
                        raise

    async def _gone(self, owners: Iterable[Owner]) -> dict[Owner, datetime]:
        """Return which of these were erased, and when."""
        by_id = {_erased_id(owner): owner for owner in owners}
        if not by_id:
            return {}
        found = await self._erased.find({"_id": {"$in": list(by_id)}}).to_list(None)
        return {by_id[document["_id"]]: document["at"] for document in found}

    async def _wipe(self, query: dict[str, Any]) -> None:
        """Remove names, addresses and words from every matching document, which then no longer matches."""
        wiped = {"$unset": dict.fromkeys(NAMES, ""), "$set": {"erased": True}}
        while found := await self._messages.find(query, {"_id": 1}).limit(self._bulk).to_list(None):
            await self._messages.update_many({"_id": {"$in": [document["_id"] for document in found]}}, wiped)

    async def _notifications(self, wanted: Search) -> tuple[UUID, ...]:
        """Return the notifications named by id, by one of their messages, or by an address alone."""
        if wanted.message is not None:
            return (parse_message_id(wanted.message)[0],)
        if wanted.address_key is None or wanted.recipient is not None or wanted.subject is not None:
            return wanted.notifications
        query = _of_owner(wanted) | {"address_key": wanted.address_key}
        found = await self._messages.find(query, {"_id": 1}).sort("_id", -1).limit(wanted.limit).to_list(None)
        return tuple(dict.fromkeys(parse_message_id(document["_id"])[0] for document in found))


@contextmanager
def answering() -> Iterator[None]:
    """Turn every fault of the server into Unavailable, so that the bus redelivers; a bad document is not one."""
    try:
        yield
    except PyMongoError as error:
        if isinstance(error, BulkWriteError) and _codes(error) & _NEVER:
            raise
        if isinstance(error, ConnectionFailure | OperationFailure) or error.timeout:
            raise Unavailable(f"MongoDB is unavailable ({type(error).__name__}).") from error
        raise


def _codes(error: BulkWriteError) -> set[int]:
    return {int(failed["code"]) for failed in (error.details or {}).get("writeErrors", ())}


def _erased_id(owner: Owner) -> str:
    tenant, mode, recipient = owner
    return f"{tenant}.{mode:d}.{hashlib.sha256(recipient.encode()).hexdigest()}"


def _names_of(owner: Owner, at: datetime) -> dict[str, Any]:
    """Match the owner's documents up to the erasure; later ones keep the name."""
    tenant, mode, recipient = owner
    return {"tenant": tenant, "mode": int(mode), "recipient": recipient, "began": {"$lte": at}}


def _of_owner(wanted: Search) -> dict[str, Any]:
    query: dict[str, Any] = {"tenant": wanted.tenant, "mode": int(wanted.mode)}
    if wanted.before is not None:
        query["_id"] = {"$lt": str(wanted.before)}
    return query


def _query(wanted: Search, notifications: Sequence[UUID]) -> dict[str, Any] | None:
    """Return None if there is nothing to search by. Receipts and refusals without a transition are not messages yet."""
    query = _of_owner(wanted) | {"transitions": {"$exists": True}} | given(communication=wanted.communication)
    if notifications:  # "/" follows "." in ASCII: the range covers all messages of a notification
        ranges = [{"_id": {"$gte": f"{notification}.", "$lt": f"{notification}/"}} for notification in notifications]
        return query | {"$or": ranges}
    by = given(subject=wanted.subject, recipient=wanted.recipient)
    if wanted.causes and wanted.subject is None:
        by["cause"] = {"$in": list(wanted.causes)}
    return query | by if by else None
