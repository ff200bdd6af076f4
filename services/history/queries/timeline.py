"""Timelines: everything that happened to a recipient, an order or a message, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.errors import Unavailable
from libs.ids import parse_message_id
from libs.telemetry import get_logger
from services.history.domain.chain import Fact, of_decisions, of_document, of_message
from services.history.domain.facts import Decision, Document, Message
from services.history.ports import Audit, Search, Timeline
from services.history.queries import Question

_DECISIONS_A_GROUP = 4

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact with its recipient, order and communication."""

    fact: Fact
    recipient: str | None
    order: str | None
    communication: str | None
    cause: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """One unit of a page: a message, an event's decisions, or one other event. Ids sort by time."""

    id: UUID
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """`complete`: False where decisions and other events were unavailable."""

    entries: list[Entry]
    after: UUID | None
    complete: bool


async def timeline_of(
    timeline: Timeline, audit: Audit, question: Question, limit: int, before: UUID | None
) -> TimelinePage:
    """Return up to `limit` groups older than `before`, and the next page's start; only messages if the audit is down.

    Notifications, causes and events carry the time in their ids, so one id is a position in all three lists.
    """
    page = await _page(timeline, audit, question, limit, before)
    otherwise = question.otherwise_written()
    if page.entries or otherwise is None:
        return page
    return await _page(timeline, audit, otherwise, limit, before)


async def _page(timeline: Timeline, audit: Audit, question: Question, limit: int, before: UUID | None) -> TimelinePage:
    wanted = question.search(limit=limit + 1, before=before)
    messages = [m for m in await timeline.messages(wanted) if before is None or m.notification_id < before]
    groups = [_Group(m.notification_id, _of_message(m)) for m in messages if _asked(m, question)]
    complete = True
    try:
        groups += _decision_groups(await _decisions(audit, question, messages, wanted), limit)
        groups += [_Group(d.id, [_of_document(d)]) for d in await _documents(audit, question, messages, wanted)]
    except Unavailable as error:
        complete = False
        log.warning("timeline_without_audit", detail=error.detail)
    groups.sort(key=lambda group: group.id, reverse=True)
    page = groups[:limit]
    entries = [entry for group in page for entry in group.entries]
    entries.sort(key=lambda entry: entry.fact.at, reverse=True)
    return TimelinePage(entries, page[-1].id if len(groups) > limit else None, complete)


def _asked(message: Message, question: Question) -> bool:
    if question.message is None:
        return True
    return (message.notification_id, message.address_id) == parse_message_id(question.message)


async def _decisions(audit: Audit, question: Question, messages: Sequence[Message], wanted: Search) -> list[Decision]:
    if question.message is not None:
        causes = tuple({message.cause_id for message in messages})
        found = await audit.decisions(Search(question.tenant, question.mode, causes=causes)) if causes else []
        notification = parse_message_id(question.message)[0]
        return [d for d in found if d.notification_id == notification]
    rows = _DECISIONS_A_GROUP * wanted.limit
    search = question.search(limit=rows, before=wanted.before)
    found = await audit.decisions(search)
    if len(found) == rows:  # the limit may have cut off the last event
        found = [d for d in found if d.cause_id != found[-1].cause_id] or found
    return [d for d in found if question.recipient is None or d.recipient in (question.recipient, None)]


def _decision_groups(decisions: Sequence[Decision], limit: int) -> list[_Group]:
    by_cause: dict[UUID, list[Decision]] = {}
    for decision in decisions:
        by_cause.setdefault(decision.cause_id, []).append(decision)
    return [
        _Group(cause, [_of_decision(fact, of_cause[0]) for fact in of_decisions(of_cause)])
        for cause, of_cause in list(by_cause.items())[: limit + 1]
    ]


async def _documents(audit: Audit, question: Question, messages: Sequence[Message], wanted: Search) -> list[Document]:
    """Return documents about the messages; for a recipient or address alone, also everything else about it."""
    found: list[Document] = []
    if ids := ",".join(message.id for message in messages if _asked(message, question)):
        by_message = Search(question.tenant, question.mode, message=ids, before=wanted.before, limit=wanted.limit)
        found += await audit.documents(by_message)
    whom = question.recipient is not None or question.address_key is not None
    if whom and question.order is None and question.communication is None and question.message is None:
        found += await audit.documents(wanted)
    return list({document.id: document for document in found}.values())


def _of_message(message: Message) -> list[Entry]:
    about = (message.recipient, message.subject, message.communication, message.cause_id)
    return [Entry(fact, *about) for fact in of_message(message)]


def _of_decision(fact: Fact, decision: Decision) -> Entry:
    return Entry(fact, decision.recipient, decision.subject, decision.communication, decision.cause_id)


def _of_document(document: Document) -> Entry:
    return Entry(of_document(document), document.recipient, document.subject, None)
