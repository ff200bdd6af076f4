"""HTTP clients for delivery and orders-notification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.contracts.outcomes import Status
from libs.contracts.reasons import Reason
from libs.service_client import ServiceClient
from services.history.domain.case import KeptRejection, Rendered, Trace, Waiting
from services.history.domain.facts import Decision
from services.history.ports import Asker

_MOST_CAUSES = 1_000  # that intake accepts in one call


@dataclass(frozen=True, slots=True)
class DeliveryOverHttp:
    """`notifications:explain` and `messages:render`, in batches."""

    client: ServiceClient
    timeout_seconds: float

    async def explain(self, asker: Asker, notifications: Sequence[UUID]) -> Mapping[UUID, Waiting]:
        """Return what each waits for; absent: delivery does not know it. Raises Unavailable."""
        answer = await self._ask(asker, "/v1/notifications:explain", {"ids": [str(id_) for id_ in notifications]})
        return {UUID(id_): _waiting(entry) for id_, entry in answer["notifications"].items()}

    async def render(self, asker: Asker, messages: Sequence[str]) -> Mapping[str, Rendered]:
        """Render texts again; absent: delivery does not know the message. Raises Unavailable."""
        answer = await self._ask(asker, "/v1/messages:render", {"ids": list(messages)})
        return {id_: _rendered(entry) for id_, entry in answer["messages"].items()}

    async def _ask(self, asker: Asker, path: str, body: Any) -> Any:
        return await self.client.post(path, body, tenant=asker.tenant, mode=asker.mode, timeout=self.timeout_seconds)


def _waiting(entry: Mapping[str, Any]) -> Waiting:
    until = entry.get("until")
    return Waiting(
        reason=reason_of(entry.get("reason")),
        until=datetime.fromisoformat(until) if until else None,
        detail=entry.get("detail"),
        ended=_ended(entry) if entry.get("state") in ("final", "unknown") else None,
    )


def _ended(entry: Mapping[str, Any]) -> Status:
    """Return the most significant status of a notification's messages; without messages it was refused."""
    statuses = {Status.parse(message["status"]) for message in entry.get("messages") or ()}
    best = (status for status in (Status.SENT, Status.UNKNOWN, Status.FAILED, Status.SUPPRESSED) if status in statuses)
    return next(best, Status.SKIPPED)


def _rendered(entry: Mapping[str, Any]) -> Rendered:
    return Rendered(digest=str(entry["digest"]), why=entry.get("why"), parts=entry.get("parts"))


def reason_of(word: object) -> Reason:
    """Return the reason of a word; NONE without a word or for an unknown one."""
    return Reason.__members__.get(str(word).upper(), Reason.NONE)


@dataclass(frozen=True, slots=True)
class IntakeOverHttp:
    """`events:trace`."""

    client: ServiceClient
    timeout_seconds: float

    async def trace(self, asker: Asker, causes: Sequence[UUID], subjects: Sequence[str]) -> Trace:
        """Return what became of these events. Raises Unavailable."""
        answer = await self._ask(asker, causes, subjects)
        events = answer["events"]
        return Trace(
            events=tuple(made for event in events for made in _decisions(event)),
            undecided=tuple(str(event["event_id"]) for event in events if not event.get("decisions")),
            rejections=tuple(_kept(item) for item in answer["rejections"]),
        )

    async def trace_ids(self, asker: Asker, causes: Sequence[UUID]) -> Mapping[UUID, str]:
        """Return the OpenTelemetry trace of each of these events; absent: none is known. Raises Unavailable."""
        found: dict[UUID, str] = {}
        for start in range(0, len(causes), _MOST_CAUSES):
            answer = await self._ask(asker, causes[start : start + _MOST_CAUSES], ())
            found |= {UUID(str(e["id"])): str(e["trace_id"]) for e in answer["events"] if e.get("trace_id")}
        return found

    async def _ask(self, asker: Asker, causes: Sequence[UUID], subjects: Sequence[str]) -> Any:
        body = {"causes": [str(cause) for cause in causes], "subjects": list(subjects)}
        return await self.client.post(
            "/v1/events:trace", body, tenant=asker.tenant, mode=asker.mode, timeout=self.timeout_seconds
        )


def _decisions(event: Mapping[str, Any]) -> list[Decision]:
    return [
        Decision(
            at=datetime.fromisoformat(event["received_at"]),
            cause_id=UUID(str(event["id"])),
            event_id=str(event["event_id"]),
            event_type=str(event["type"]),
            event_source=str(event["source"]),
            reason=Reason.NONE if item.get("outcome") == "requested" else reason_of(item.get("outcome")),
            subject=event.get("subject"),
            communication=item.get("communication"),
            recipient=item.get("recipient"),
            detail=item.get("detail"),
        )
        for item in event.get("decisions") or ()
    ]


def _kept(item: Mapping[str, Any]) -> KeptRejection:
    at = datetime.fromisoformat(item["received_at"])
    return KeptRejection(at=at, sentence=item["detail"], event_id=item.get("event_id"))
