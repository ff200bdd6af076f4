"""The bus over Dapr: the relay passes each batch to the sidecar instead of to the subscribers of its own process.

A row leaves the outbox only after the sidecar has confirmed that the broker has it. After any other response the
whole batch is published again, and the subscribers' natural keys absorb the duplicates. Events that are published
together share broker messages (`batches`). `routes` receives incoming events.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from libs.contracts.envelope import EVENTS
from libs.errors import Invalid, Unavailable
from libs.ids import uuid7
from libs.messaging import owed as debts
from libs.messaging.batches import MEDIA_TYPE, SUFFIX, batched, written
from libs.messaging.bundles import unbundled
from libs.messaging.postgres import Relay
from libs.telemetry import batch_span, current_traceparent

MOST_ENTRIES = 100  # in one bulk publish
# Bytes leased at once. No handler waits for them here, so the limit is higher than on the embedded bus: each publish
# costs both sides about a millisecond, whatever its size. Far below the sidecar's limit (dapr/README.md).
PUBLISH_BYTES = 1_000_000
PUBLISH_SECONDS = 10.0
_SAID_BYTES = 300

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Sidecar:
    """How to reach the sidecar, and how both sides authenticate. `pubsub` names Dapr's component."""

    url: str
    api_token: str = field(repr=False)  # what we send
    app_token: str = field(repr=False)  # what the sidecar sends to us
    pubsub: str = "bus"


def sidecar_of(environment: Mapping[str, str], pubsub: str) -> Sidecar:
    """Build it from the variables that Dapr sets for an application. Raises Invalid naming the wrong one."""
    port = environment.get("DAPR_HTTP_PORT", "3500")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise Invalid("This is not a TCP port.", pointer="DAPR_HTTP_PORT")
    if not (app_token := environment.get("APP_API_TOKEN", "")):
        raise Invalid("Set this: without it, anyone who reaches this port could publish.", pointer="APP_API_TOKEN")
    return Sidecar(f"http://127.0.0.1:{port}", environment.get("DAPR_API_TOKEN", ""), app_token, pubsub)


def sidecar_here(bus: str, pubsub: str) -> Sidecar | None:
    """Return the sidecar that the environment names if the bus is Dapr, or None for the embedded bus."""
    return sidecar_of(os.environ, pubsub) if bus == "dapr" else None


async def ask_sidecar(sidecar: Sidecar, seconds: float) -> None:
    """Raise Unavailable unless the sidecar accepts calls and events. Its plain `/healthz` would also wait for this
    process to be healthy, which in turn waits for the sidecar."""
    url = f"{sidecar.url}/v1.0/healthz/outbound"
    try:
        async with httpx.AsyncClient(timeout=seconds, trust_env=False, verify=False) as client:
            status = (await client.get(url)).status_code
    except httpx.HTTPError as error:
        raise Unavailable(f"The sidecar does not answer: {type(error).__name__}") from error
    if status != 204:
        raise Unavailable(f"The sidecar is not ready: {status}")


@dataclass(slots=True)
class DaprRelay(Relay):
    """Publishes one service's outbox through its sidecar. `subscribers` are the service's own: the events they are
    owed (after a failure or a replay) are stored in its own database and retried here."""

    sidecar: Sidecar | None = None
    seconds: float = PUBLISH_SECONDS
    batch_bytes: int = PUBLISH_BYTES
    _client: httpx.AsyncClient | None = None

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await Relay.run(self, stop)
        finally:
            if self._client is not None:
                await self._client.aclose()
                self._client = None

    async def _hand_on(self, rows: Sequence[Any]) -> list[debts.Owed]:
        for topic, events in _by_topic(unbundled(rows)).items():
            together = list(batched(events))
            for start in range(0, len(together), MOST_ENTRIES):
                await self._bulk_publish(topic, together[start : start + MOST_ENTRIES])
        return []

    async def _bulk_publish(self, topic: str, batches: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Raise Unavailable unless the sidecar confirms that the broker has all of them."""
        assert self.sidecar is not None
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self.seconds, trust_env=False, verify=False)  # plain HTTP
        url = f"{self.sidecar.url}/v1.0/publish/bulk/{self.sidecar.pubsub}/{topic}"
        headers = {"content-type": "application/json", "dapr-api-token": self.sidecar.api_token}
        above = [event["traceparent"] for batch in batches for event in batch]
        try:
            with batch_span(f"publish {topic}", above, entries=len(above)):
                headers["traceparent"] = current_traceparent() or ""
                content = _encoder.encode(list(entries_of(batches)))
                async with asyncio.timeout(self.seconds):
                    answer = await self._client.post(url, headers=headers, content=content)
        except (TimeoutError, httpx.HTTPError) as error:
            raise Unavailable(f"The sidecar did not accept {topic}: {type(error).__name__}") from error
        said = answer.content
        if answer.status_code not in (200, 204) or b"failedEntries" in said:
            text = said[:_SAID_BYTES].decode(errors="replace")
            raise Unavailable(f"The sidecar did not accept {topic}: {answer.status_code} {text}")


def topic_of(type_: str) -> str:
    """Return the topic of an event type; for a type that no contract declares any more, its v1 topic."""
    return EVENTS[type_].topic() if type_ in EVENTS else f"{type_}.v1"


def _by_topic(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    topics: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        topics[topic_of(row["type"])].append(row)
    return topics


def entries_of(batches: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the entries of a bulk publish, one for each group of rows that travel together. The events' JSON is sent
    as base64, because a sidecar would parse its numbers as floats."""
    for number, rows in enumerate(batches):
        event = _carrier(rows) if len(rows) > 1 else _alone(rows[0])
        metadata = {
            "partitionKey": event["partitionkey"],
            "cloudevent.id": event["id"],
            "cloudevent.type": event["type"],
            "cloudevent.source": event["source"],
        }
        if "traceparent" in event:
            metadata["cloudevent.traceparent"] = event["traceparent"]
        yield {
            "entryId": str(number),
            "event": event,
            "contentType": "application/cloudevents+json",
            "metadata": metadata,
        }


def _alone(row: Mapping[str, Any]) -> dict[str, Any]:
    event = _event(row) | {"id": str(row["event_id"]), "type": row["type"], "data_base64": row["payload"]}
    event["datacontenttype"] = "application/json"
    if row["subject"] is not None:
        event["subject"] = row["subject"]
    if row["traceparent"]:
        # in a batch, the sidecar overwrites `traceparent` with spans of its own, so ours travels beside it
        event["origintraceparent"] = event["traceparent"] = row["traceparent"]
    return event


def _carrier(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each event in it has its own partition key; the carrier uses the first one's."""
    event = _event(rows[0]) | {"id": str(uuid7()), "type": rows[0]["type"] + SUFFIX, "data_base64": written(rows)}
    event["datacontenttype"] = MEDIA_TYPE
    return event


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "source": row["source"],
        "time": row["created_at"].isoformat(),
        "tenant": row["tenant"],
        "mode": row["mode"],
        "partitionkey": row["partition_key"],
    }
