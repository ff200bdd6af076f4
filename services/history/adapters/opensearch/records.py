"""Searches and counts the audit in OpenSearch.

A result of a single page costs one search. For more pages, a point in time is opened and kept alive for five minutes
from page to page; the cursor carries it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import TransportError

from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from services.history.adapters.opensearch.documents import moment, time_of_source
from services.history.domain.records import Record
from services.history.domain.search import (
    IDENTIFIERS,
    IDS,
    INTERVALS,
    MOST_GROUPS,
    NUMBERS,
    TRUTHS,
    WORDS,
    AuditSearch,
    Group,
    Grouping,
    Term,
    cursor_gone,
    foreign_cursor,
    too_broad,
    too_many_groups,
)
from services.history.ports import RecordPage

ANY = {"ignore_unavailable": "true", "allow_no_indices": "true"}
_KEPT = "5m"
_GROUPS_A_PAGE = 1_000
_ORDER = [{"at_us": "desc"}, {"id": "desc"}, {"ordinal": {"order": "desc", "missing": "_last"}}]
_PLAIN = (*WORDS, *NUMBERS, *TRUTHS, "detail")


@dataclass(frozen=True, slots=True)
class OpenSearchRecords:
    """Raises Invalid for a query that takes longer than `seconds`; lets TransportError pass."""

    client: AsyncOpenSearch
    indices: str
    seconds: float

    async def search(self, wanted: AuditSearch, limit: int, after: list[Any] | None) -> RecordPage:
        if after is not None:
            pit, place = _place(after)
            return await self._page(wanted, limit, pit, place)
        hits = await self._hits(_body(wanted, limit))
        if len(hits) <= limit:
            return RecordPage([_record(hit) for hit in hits], None)
        pit = (await self.client.create_pit(index=self.indices, params={"keep_alive": _KEPT}))["pit_id"]
        return await self._page(wanted, limit, pit, None)

    async def counts(self, wanted: AuditSearch, grouping: Grouping) -> list[Group]:
        """Count with a composite aggregation, page by page: exact, where `terms` would estimate."""
        sources = [{name: _source(name, grouping)} for name in grouping.by]
        found: list[Group] = []
        after: dict[str, Any] | None = None
        while True:
            composite = {"size": _GROUPS_A_PAGE, "sources": sources} | ({"after": after} if after else {})
            body = {"size": 0, "track_total_hits": False, "query": query_of(wanted), "timeout": self._timeout}
            body["aggs"] = {"groups": {"composite": composite}}
            answer = self._whole(await self.client.search(index=self.indices, body=body, params=ANY))
            groups = answer.get("aggregations", {}).get("groups", {"buckets": []})
            found += [_group(bucket, grouping) for bucket in groups["buckets"]]
            after = groups.get("after_key")
            if after is None:
                return found
            if len(found) > MOST_GROUPS:
                raise too_many_groups()

    @property
    def _timeout(self) -> str:
        return f"{int(self.seconds * 1_000)}ms"

    async def _page(self, wanted: AuditSearch, limit: int, pit: str, place: list[Any] | None) -> RecordPage:
        body = _body(wanted, limit) | {"pit": {"id": pit, "keep_alive": _KEPT}}
        if place is not None:
            body["search_after"] = place
        with _kept():
            hits = await self._hits(body)
        if len(hits) > limit:
            return RecordPage([_record(hit) for hit in hits[:limit]], [pit, *hits[limit - 1]["sort"]])
        await self.client.delete_pit(body={"pit_id": [pit]})
        return RecordPage([_record(hit) for hit in hits], None)

    async def _hits(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        where = {} if "pit" in body else {"index": self.indices, "params": ANY}
        answer = self._whole(await self.client.search(body=body | {"timeout": self._timeout}, **where))
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def _whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["timed_out"]:
            raise too_broad(self.seconds)
        if answer["_shards"]["failed"]:
            if "search_context_missing_exception" in str(answer["_shards"].get("failures")):
                raise cursor_gone()
            raise Unavailable("OpenSearch could not search every month.")  # a partial result must not look complete
        return answer


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        if error.status_code == 404:
            raise cursor_gone() from error
        if error.status_code == 400:
            raise foreign_cursor() from error  # its content is not a point in time
        raise


def query_of(wanted: AuditSearch) -> dict[str, Any]:
    """Return a query of filters only: nothing is scored. Tenant and mode are always among them."""
    between = {"range": {"at_us": {"gte": moment(wanted.since), "lt": moment(wanted.until)}}}
    must = [{"term": {"tenant": wanted.tenant}}, {"term": {"mode": wanted.mode.word}}, between]
    must += [{"terms": {name: list(values)}} for name, values in wanted.filters.items()]
    must += [_said(term) for term in wanted.terms if not term.without]
    return {"bool": {"filter": must, "must_not": [_said(term) for term in wanted.terms if term.without]}}


def _said(term: Term) -> dict[str, Any]:
    either: list[dict[str, Any]] = [{"match_phrase": {"detail": term.text}}]
    either += [{"term": {name: term.text}} for name in IDENTIFIERS]
    return either_of(*either)


def either_of(*filters: dict[str, Any]) -> dict[str, Any]:
    """Return a filter that any of these satisfies."""
    return {"bool": {"should": list(filters), "minimum_should_match": 1}}


def _body(wanted: AuditSearch, limit: int) -> dict[str, Any]:
    return {"query": query_of(wanted), "sort": _ORDER, "size": limit + 1, "track_total_hits": False}


def _source(name: str, grouping: Grouping) -> dict[str, Any]:
    if name in INTERVALS:
        return {"date_histogram": {"field": "at", "calendar_interval": name, "time_zone": grouping.zone.key}}
    return {"terms": {"field": name}}


def _group(bucket: dict[str, Any], grouping: Grouping) -> Group:
    values = tuple(_value(name, bucket["key"][name]) for name in grouping.by)
    return Group(values, bucket["doc_count"])


def _value(name: str, value: Any) -> Any:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value) if name in INTERVALS else value


def _record(hit: dict[str, Any]) -> Record:
    source = hit["_source"]
    fields = {name: source.get(name) for name in _PLAIN if name not in ("kind", "type")}
    fields |= {name: UUID(source[name]) for name in IDS if source.get(name)}
    return Record(
        **fields,
        kind=source["kind"],
        type=source["type"],
        id=hit["_id"],
        at=time_of_source(source),
        tenant=source["tenant"],
        mode=Mode.parse(source["mode"]),
        body=source.get("body", {}),
    )


def _place(after: list[Any]) -> tuple[str, list[Any]]:
    match after:
        case [str(pit), int(at), str(id_), int() | None as ordinal]:
            return pit, [at, id_, ordinal]
    raise foreign_cursor()
