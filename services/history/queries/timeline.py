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
_LEAST_DECISIONS = 400  # an event with more decisions is shown with that many
_DOCUMENTS_A_MESSAGE = 20

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
    """One unit of a page: a notification with everything about its messages, an event's decisions, or one other event.
    Ids sort by time and are unique among groups: a page ends between two ids."""

    id: UUID
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class _List:
    """Groups of one kind, newest first. `reaches`: the oldest id down to which none is missing; None: to the end."""

    groups: list[_Group]
    reaches: UUID | None

    def of_message(self, document: Document) -> list[Entry]:
        """Return the entries of the notification that a document is about."""
        notification = parse_message_id(document.message or "")[0]
        return next(group.entries for group in self.groups if group.id == notification)


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
    """Return the first page from there that has any entry."""
    while True:
        page = await _one_page(timeline, audit, question, limit, before)
        if page.entries or page.after is None:
            return page
        before = page.after


async def _one_page(
    timeline: Timeline, audit: Audit, question: Question, limit: int, before: UUID | None
) -> TimelinePage:
    wanted = question.search(limit=limit + 1, before=before)
    messages = [m for m in await timeline.messages(wanted) if before is None or m.notification_id < before]
    shown = [m for m in messages if _asked(m, question)]
    lists = [_notifications(shown, wanted)]
    complete = True
    try:
        lists.append(_decided(*await _decisions(audit, question, messages, wanted)))
        lists.append(await _by_themselves(timeline, audit, question, wanted))
        for document in await _about_messages(audit, question, shown):
            lists[0].of_message(document).append(_of_document(document))
    except Unavailable as error:
        complete = False
        log.warning("timeline_without_audit", detail=error.detail)
    return _together(lists, limit, complete=complete)


def _together(lists: Sequence["_List"], limit: int, *, complete: bool) -> TimelinePage:
    """Merge the newest groups of all lists, as far back as every list reaches."""
    floor = max((each.reaches for each in lists if each.reaches is not None), default=None)
    groups = sorted((group for each in lists for group in each.groups), key=lambda group: group.id, reverse=True)
    there = [group for group in groups if floor is None or group.id >= floor]
    page = there[:limit]
    entries = [entry for group in page for entry in group.entries]
    entries.sort(key=lambda entry: entry.fact.at, reverse=True)
    return TimelinePage(entries, page[-1].id if len(there) > limit else floor, complete)


def _asked(message: Message, question: Question) -> bool:
    if question.message is None:
        return True
    return (message.notification_id, message.address_id) == parse_message_id(question.message)


def _notifications(messages: Sequence[Message], wanted: Search) -> "_List":
    """Return one group per notification, for any number of addresses."""
    groups: dict[UUID, _Group] = {}
    for message in messages:
        groups.setdefault(message.notification_id, _Group(message.notification_id, [])).entries.extend(
            _of_message(message)
        )
    return _List(list(groups.values()), min(groups) if len(groups) >= wanted.limit else None)


async def _decisions(
    audit: Audit, question: Question, messages: Sequence[Message], wanted: Search
) -> tuple[list[Decision], UUID | None]:
    """Return decisions, newest event first, and the event after which there may be more; None: there are no more."""
    if question.message is not None:
        if not messages:
            return [], None
        causes = tuple({message.cause_id for message in messages})
        whose = messages[0].recipient  # the event may have thousands of others
        found = await audit.decisions(Search(question.tenant, question.mode, recipient=whose, causes=causes))
        notification = parse_message_id(question.message)[0]
        return [d for d in found if d.notification_id == notification], None
    rows = max(_LEAST_DECISIONS, _DECISIONS_A_GROUP * wanted.limit)
    found = await audit.decisions(question.search(limit=rows, before=wanted.before))
    reaches = None
    if len(found) == rows:  # the limit may have cut off the last event
        found = [d for d in found if d.cause_id != found[-1].cause_id] or found
        reaches = found[-1].cause_id
    return found, reaches


def _decided(decisions: Sequence[Decision], reaches: UUID | None) -> "_List":
    by_cause: dict[UUID, list[Decision]] = {}
    for decision in decisions:
        by_cause.setdefault(decision.cause_id, []).append(decision)
    groups = [
        _Group(cause, [_of_decision(fact, of_cause[0]) for fact in of_decisions(of_cause)])
        for cause, of_cause in by_cause.items()
    ]
    return _List(groups, reaches)


async def _about_messages(audit: Audit, question: Question, messages: Sequence[Message]) -> list[Document]:
    """Return documents about the messages, even much later ones: they are grouped with them."""
    ids = [message.id for message in messages]
    if not ids:
        return []
    limit = _DOCUMENTS_A_MESSAGE * len(ids)
    return await audit.documents(Search(question.tenant, question.mode, message=",".join(ids), limit=limit))


async def _by_themselves(timeline: Timeline, audit: Audit, question: Question, wanted: Search) -> "_List":
    """For a recipient or address alone, return everything about it that belongs to none of its messages."""
    whom = question.recipient is not None or question.address_key is not None
    if not whom or any(part is not None for part in (question.order, question.communication, question.message)):
        return _List([], None)
    found = await audit.documents(wanted)
    reaches = found[-1].id if len(found) == wanted.limit else None
    named = {parse_message_id(document.message)[0] for document in found if document.message is not None}
    known: set[str] = set()
    if named:
        asked = Search(question.tenant, question.mode, notifications=tuple(sorted(named)), limit=len(named))
        known = {message.id for message in await timeline.messages(asked)}
    groups = [_Group(d.id, [_of_document(d)]) for d in found if d.message not in known]
    return _List(groups, reaches)


def _of_message(message: Message) -> list[Entry]:
    about = (message.recipient, message.subject, message.communication, message.cause_id)
    return [Entry(fact, *about) for fact in of_message(message)]


def _of_decision(fact: Fact, decision: Decision) -> Entry:
    return Entry(fact, decision.recipient, decision.subject, decision.communication, decision.cause_id)


def _of_document(document: Document) -> Entry:
    return Entry(of_document(document), document.recipient, document.subject, None)
