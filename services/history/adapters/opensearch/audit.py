"""The audit in OpenSearch: a monthly index, one document per decision or event, under the event's own id.

`create` refuses an existing id, so a second delivery changes nothing. Searches find a document a second later.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import TransportError

from libs.contracts.envelope import Envelope
from libs.errors import Invalid, Unavailable
from libs.storage.erasures import Erased
from libs.telemetry import get_logger
from services.history.adapters.opensearch import bulk, documents, installed, messages, schema
from services.history.adapters.opensearch.bulk import Action
from services.history.adapters.opensearch.documents import Entry, Owner
from services.history.adapters.opensearch.records import ANY, OpenSearchRecords, either_of
from services.history.adapters.outage import Outage
from services.history.domain.facts import Decision, Document
from services.history.domain.search import AuditSearch, Group, Grouping, in_order
from services.history.ports import ActionSearch, RecordPage, Search, Spill, Spilled

_PAGE = 500
_SPILLED_AT_ONCE = 8
_PROBE_SECONDS = 1
_HELD_SECONDS = 3  # limit for a bulk that can be spilled: the relay waits for its subscriber
_DRAIN_SECONDS = 30
_ABOUT_NOBODY = {"bool": {"must_not": [{"exists": {"field": "recipient"}}]}}

log = get_logger(__name__)


class OpenSearchAudit:
    """Event documents in `<prefix>-YYYY.MM`. Raises Unavailable where OpenSearch cannot write or search now."""

    def __init__(
        self, client: AsyncOpenSearch, *, prefix: str, search_seconds: float = 10.0, spill: Spill | None = None
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._months = f"{prefix}-2*"
        self._marks = f"{prefix}-erased"
        self._records = OpenSearchRecords(client, self._months, search_seconds)
        self._spill = spill
        self._outage = Outage("OpenSearch")
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def aclose(self) -> None:
        await self._client.close()

    async def check(self) -> str | None:
        """Return what is wrong; None: nothing. Raises Unavailable."""
        return await installed.check(self._client, self._prefix)

    async def record_messages(self, batch: Sequence[Envelope]) -> None:
        await self._record(messages.of_messages(batch))

    async def record_receipts(self, batch: Sequence[Envelope]) -> None:
        await self._record(messages.of_receipts(batch))

    async def record_rejections(self, batch: Sequence[Envelope]) -> None:
        await self._record(messages.of_rejections(batch))

    async def record_decisions(self, batch: Sequence[Envelope]) -> None:
        await self._record([entry for envelope in batch for entry in documents.entries_of(envelope)])

    async def record_documents(self, documents_: Sequence[Document]) -> None:
        await self._record([documents.entry_of(document) for document in documents_])

    async def decisions(self, wanted: Search) -> list[Decision]:
        ways: list[dict[str, Any]] = [{"terms": {"cause": [str(c) for c in wanted.causes]}}] if wanted.causes else []
        named = {name: getattr(wanted, name) for name in ("event_id", "subject", "recipient")}
        ways += [{"term": {name: value}} for name, value in named.items() if value is not None]
        if not ways:
            return []
        before = {"range": {"cause": {"lt": str(wanted.before)}}} if wanted.before else None
        order = [{"cause": "desc"}, {"id": "asc"}, {"ordinal": "asc"}]
        about = either_of({"term": {"recipient": wanted.recipient}}, _ABOUT_NOBODY) if wanted.recipient else None
        query = _all(_owned(wanted, "decision"), ways[0], about, before)
        return [documents.decision_of(hit["_source"]) for hit in await self._search(query, order, wanted.limit)]

    async def documents(self, wanted: Search) -> list[Document]:
        if wanted.message is not None:
            way: dict[str, Any] = {"terms": {"message": wanted.message.split(",")}}
        elif wanted.recipient is not None:
            way = {"term": {"recipient": wanted.recipient}}
        elif wanted.address_key is not None:
            way = {"term": {"address_key": wanted.address_key}}
        else:
            return []
        before = {"range": {"id": {"lt": str(wanted.before)}}} if wanted.before else None
        since = {"range": {"id": {"gte": str(wanted.since)}}} if wanted.since else None
        query = _all(_owned(wanted, "document"), way, before, since)
        hits = await self._search(query, [{"id": "desc"}], wanted.limit)
        return [documents.document_of(hit["_source"]) for hit in hits]

    async def actions(self, wanted: ActionSearch) -> list[Document]:
        asked = {name: getattr(wanted, name) for name in ("actor", "action", "object")}
        terms = [{"term": {name: value}} for name, value in asked.items() if value is not None]
        query = _all(_owned(wanted, "document"), {"exists": {"field": "action"}}, *terms)
        after = [documents.moment(wanted.after[0]), str(wanted.after[1])] if wanted.after else None
        hits = await self._search(query, [{"at_us": "desc"}, {"id": "desc"}], wanted.limit, after)
        return [documents.document_of(hit["_source"]) for hit in hits]

    async def search(self, wanted: AuditSearch, limit: int, after: list[Any] | None = None) -> RecordPage:
        with self._answering():
            await self._ready()
            return await self._records.search(wanted, limit, after)

    async def counts(self, wanted: AuditSearch, grouping: Grouping) -> list[Group]:
        with self._answering():
            await self._ready()
            return in_order(await self._records.counts(wanted, grouping), grouping)

    async def forget(self, erased: Sequence[Erased]) -> None:
        """Make documents nameless; late events are stored nameless too. The mark precedes the wipe: see _record."""
        owners = [((tenant, mode.word, recipient), at) for tenant, mode, recipient, at in erased]
        with self._answering():
            await self._ready()
            await self._send([self._mark(owner, at) for owner, at in owners])
            await self._client.indices.refresh(index=self._months, params=ANY)  # includes the latest writes
        for owner, at in owners:
            async for hits in self._pages(_concerning(owner, at)):
                with self._answering():
                    await self._send([_wiped(hit) for hit in hits])

    async def keep(self, today: datetime, ahead_days: int, retention_days: int) -> list[str]:
        """Drop the months past the retention; coming months are created by their first write."""
        with self._answering():
            there = list(await self._client.indices.get(index=self._months, params=ANY))
            if old := schema.outdated(there, self._prefix, today, retention_days):
                await self._client.indices.delete(index=",".join(old), params=ANY)
        return old

    async def drain(self) -> int:
        """Write the oldest spilled documents. Return how many; 0: none, or the cluster is unavailable."""
        if self._spill is None:
            return 0
        try:
            if await self._spill.look() is None:
                return 0
            with _translated():
                await self._reached()
            written = await self._drained(self._spill, await self._spill.take(_SPILLED_AT_ONCE))
        except Unavailable as error:
            log.warning("spill_waits", detail=error.detail)
            return 0
        self._outage.over()
        return written

    async def _drained(self, spill: Spill, taken: Sequence[Spilled]) -> int:
        written = 0
        for index, spilled in enumerate(taken):
            entries = documents.unpacked(spilled.body)
            try:
                with _translated():
                    await self._write(entries, seconds=_DRAIN_SECONDS)
            except Unavailable:
                await spill.give_back([one.id for one in taken[index:]])
                raise
            except Invalid as error:
                await spill.refuse(spilled.id, error.detail)  # the batch's other documents are written
                continue
            await spill.done([spilled.id])
            written += len(entries)
        return written

    async def _record(self, entries: Sequence[Entry]) -> None:
        """Write to the cluster, or to the spill where the cluster does not accept the documents."""
        try:
            with self._answering():
                if self._outage.lately:
                    await self._reached()
                await self._write(entries, seconds=_HELD_SECONDS if self._spill else None)
        except Unavailable:
            if self._spill is None:
                raise
            await self._spill.keep(documents.packed(entries))

    async def _write(self, entries: Sequence[Entry], *, seconds: int | None) -> None:
        """Write, then check for erasures again: recipients erased between the first check and the write are wiped."""
        owners = {owner for entry in entries for owner in documents.owners_of(entry.source)}
        await self._ready()
        gone = await self._gone(owners)
        named = [entry.nameless(gone) for entry in entries]
        refused: Invalid | None = None
        try:
            await self._send([self._create(entry) for entry in named], seconds=seconds)
        except Invalid as error:
            refused = error  # the other documents are written, and checked like all
        late = {owner: at for owner, at in (await self._gone(owners)).items() if owner not in gone}
        if late:
            wiped = [(entry, entry.nameless(late)) for entry in named]
            await self._send([self._replace(after) for before, after in wiped if after is not before])
        if refused is not None:
            raise refused

    async def _reached(self) -> None:
        """Probe a cluster that was unavailable with a short timeout: the relay waits for its subscriber."""
        await self._client.cluster.health(params={"local": "true", "request_timeout": _PROBE_SECONDS})

    async def _ready(self) -> None:
        """Install the templates before the first write; if the cluster is unavailable, the next write tries again."""
        async with self._preparing:
            if not self._prepared:
                await installed.install(self._client, self._prefix)
                self._prepared = True

    async def _gone(self, owners: Iterable[Owner]) -> dict[Owner, int]:
        """Return which of these were erased, and when. Reads by id, which sees unrefreshed writes."""
        by_id = {documents.mark_of(owner): owner for owner in owners}
        if not by_id or not await self._client.indices.exists(index=self._marks):
            return {}
        found = await self._client.mget(index=self._marks, body={"ids": list(by_id)})
        return {by_id[hit["_id"]]: hit["_source"]["at_us"] for hit in found["docs"] if hit.get("found")}

    def _create(self, entry: Entry) -> Action:
        return {"create": {"_index": schema.month_of(self._prefix, entry.month), "_id": entry.id}}, entry.source

    def _replace(self, entry: Entry) -> Action:
        return {"index": {"_index": schema.month_of(self._prefix, entry.month), "_id": entry.id}}, entry.source

    def _mark(self, owner: Owner, at: datetime) -> Action:
        # the erasure's time is the mark's version: the latest erasure wins in any order of arrival
        moment = documents.moment(at)
        version = {"version": moment, "version_type": "external_gte"}
        return {"index": {"_index": self._marks, "_id": documents.mark_of(owner)} | version}, {"at_us": moment}

    async def _send(self, actions: Sequence[Action], *, seconds: int | None = None) -> None:
        await bulk.send(self._client, actions, seconds=seconds)

    async def _search(
        self, query: dict[str, Any], order: list[Any], limit: int, after: list[Any] | None = None
    ) -> list[dict[str, Any]]:
        body: dict[str, Any] = {"query": query, "sort": order, "size": limit, "track_total_hits": False}
        if after is not None:
            body["search_after"] = after
        with self._answering():
            await self._ready()
            answer = await self._client.search(index=self._months, body=body, params=ANY)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise Unavailable("OpenSearch could not search every month.")  # a partial result must not look complete
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    async def _pages(self, query: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        after: list[Any] | None = None
        while hits := await self._search(query, [{"id": "asc"}, {"ordinal": "asc"}], _PAGE, after):
            yield hits
            after = hits[-1]["sort"]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._outage.watched(), _translated():
            yield


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every fault of the cluster into Unavailable, so that the bus redelivers."""
    try:
        yield
    except TransportError as error:
        kind = "no connection" if isinstance(error, NoConnection) else str(error.status_code)
        raise Unavailable(f"OpenSearch does not answer ({kind}).") from error


def _all(*filters: Any) -> dict[str, Any]:
    given = (some if isinstance(some, list) else [some] for some in filters if some)
    return {"bool": {"filter": [one for some in given for one in some]}}


def _owned(wanted: Search | ActionSearch, kind: str) -> list[dict[str, Any]]:
    owned = {"tenant": wanted.tenant, "mode": wanted.mode.word, "kind": kind}
    return [{"term": {name: value}} for name, value in owned.items()]


def _concerning(owner: Owner, at: datetime) -> dict[str, Any]:
    """Match the owner's documents up to the erasure, and actions about the owner."""
    tenant, mode, recipient = owner
    about = _all({"term": {"object": recipient}}, {"exists": {"field": "action"}})
    either = either_of({"term": {"recipient": recipient}}, about)
    until = {"lte": documents.moment(at)}
    began = {"exists": {"field": "began_us"}}
    happened = {"bool": {"must_not": [began], "filter": [{"range": {"at_us": until}}]}}
    before = either_of({"range": {"began_us": until}}, happened)
    return _all({"term": {"tenant": tenant}}, {"term": {"mode": mode}}, either, before)


def _wiped(hit: dict[str, Any]) -> Action:
    return {"index": {"_index": hit["_index"], "_id": hit["_id"]}}, documents.without_names(hit["_source"])
