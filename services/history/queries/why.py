"""Why: one verdict from history's own records, and from other services only where it needs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from libs.contracts.outcomes import Status
from libs.errors import DepescheError
from libs.ids import first_id_at
from libs.telemetry import get_logger, span
from services.history.domain.case import Case, Rendered, Trace, twins_of
from services.history.domain.chain import Fact, in_order, of_decisions, of_document, of_message
from services.history.domain.facts import Document
from services.history.domain.no_trace import decide_elsewhere, decide_without_address, decide_without_trace
from services.history.domain.verdict import Verdict, decide
from services.history.ports import Asker, History, Search
from services.history.queries import Question, uuid_of
from services.history.queries.finding import find_cases
from services.history.queries.traces import trace_links

_CLOCKS_APART = timedelta(minutes=5)
_ON_THE_WAY = timedelta(minutes=1)  # a request unknown to delivery counts as lost only after this time

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict on the newest case, its chain, and the other matching cases, each with its own verdict."""

    verdict: Verdict
    facts: list[Fact]
    case: Case | None
    rendered: Rendered | None
    others: list[tuple[Case, Verdict]]
    trace_link: str | None = None  # page of the case's trace


async def why(deps: History, question: Question) -> Answer:
    """Answer a question. If another service is unavailable, its part is left out and the answer says so."""
    with span("why"):
        cases = await find_cases(deps.timeline, deps.audit, question)
        if not cases and (otherwise := question.otherwise_written()) is not None:
            cases = await find_cases(deps.timeline, deps.audit, otherwise)
            question = otherwise if cases else question
        if not cases:
            return await _without_trace(deps, question)
        if strangers := await _strangers(deps, question, cases):
            return _elsewhere(strangers)
        case, *others = cases
        case = await _completed(deps, question, case, others)
        verdict = decide(case)
        facts = [fact for message in case.messages for fact in of_message(message)]
        facts += of_decisions(case.decisions) + [of_document(document) for document in case.documents]
        chain = in_order(facts)
        links = await trace_links(deps, Asker(question.tenant, question.mode), [case.cause_id])
        link = links.get(case.cause_id) if case.cause_id else None
        return Answer(verdict, chain, case, case.rendered, [(other, decide(other)) for other in others], link)


async def _strangers(deps: History, question: Question, cases: Sequence[Case]) -> list[Case]:
    """Return everything about the order or event if it is somebody else's: it names recipients, but not the one in
    question. A decision without a recipient (a condition that is false, a refused event) then says nothing about it."""
    wider = _wider(question)
    if question.recipient is None or wider is None or any(case.recipient is not None for case in cases):
        return []
    found = await find_cases(deps.timeline, deps.audit, wider)
    named = {case.recipient for case in found if case.recipient is not None}
    return found if named and question.recipient not in named else []


async def _completed(deps: History, question: Question, case: Case, others: Sequence[Case]) -> Case:
    """Add the case's documents, its twins, and what only delivery knows."""
    asker = Asker(question.tenant, question.mode)
    case = replace(case, documents=await _documents(deps, question, case))
    if question.order is not None or question.message is not None:
        case = replace(case, twins=twins_of(case, others))
    statuses = {message.latest.status for message in case.messages}
    if Status.SENT in statuses:
        return replace(case, rendered=await _rendered(deps, asker, case))
    open_ = {Status.PENDING, Status.SENDING, Status.UNKNOWN}
    if case.notification_id is not None and (not statuses or statuses & open_):
        return await _explained(deps, asker, case, case.notification_id)
    return case


async def _documents(deps: History, question: Question, case: Case) -> tuple[Document, ...]:
    """Return events about the messages since they began, and, for a barred address, also earlier ones about it."""
    ids = [message.id for message in case.messages]
    if not ids:
        return ()
    since = first_id_at(case.began - _CLOCKS_APART)
    found = await deps.audit.documents(Search(question.tenant, question.mode, message=",".join(ids), since=since))
    keys = {m.address_key for m in case.messages if m.latest.status is Status.SUPPRESSED and m.address_key is not None}
    for key in sorted(keys):
        found += await deps.audit.documents(Search(question.tenant, question.mode, address_key=key))
    return tuple(sorted({document.id: document for document in found}.values(), key=lambda d: d.id))


async def _rendered(deps: History, asker: Asker, case: Case) -> Rendered | None:
    sent = next(message for message in case.messages if message.latest.status is Status.SENT)
    try:
        return (await deps.delivery.render(asker, [sent.id])).get(sent.id)
    except DepescheError as error:
        log.warning("why_not_rendered", notification_id=str(case.notification_id), error=error.detail)
        return None


async def _explained(deps: History, asker: Asker, case: Case, notification: UUID) -> Case:
    try:
        known = await deps.delivery.explain(asker, [notification])
    except DepescheError as error:
        log.warning("why_not_explained", notification_id=str(notification), error=error.detail)
        return case
    old_enough = deps.clock() - case.began > _ON_THE_WAY
    return replace(case, waiting=known.get(notification), lost=notification not in known and old_enough)


async def _without_trace(deps: History, question: Question) -> Answer:
    if question.names_an_address_alone:
        verdict = decide_without_address(question.mode)
    else:
        verdict = decide_without_trace(await _traced(deps, question), question.mode)
    wider = _wider(question)
    if verdict.lost_at not in ("source", "address") or wider is None:
        return Answer(verdict, [], None, None, [])
    others = await find_cases(deps.timeline, deps.audit, wider)
    return _elsewhere(others) if others else Answer(verdict, [], None, None, [])


def _elsewhere(others: Sequence[Case]) -> Answer:
    return Answer(decide_elsewhere(others), [], None, None, [(other, decide(other)) for other in others])


def _wider(question: Question) -> Question | None:
    """Drop the parts that may be misspelt or misremembered; None where nothing would be left of the question."""
    if question.communication is None and question.recipient is None:
        return None
    by_itself = (question.order, question.event, question.message, question.address_key)
    if any(part is not None for part in by_itself):
        return replace(question, communication=None, recipient=None)
    return replace(question, communication=None) if question.recipient and question.communication else None


async def _traced(deps: History, question: Question) -> Trace | None:
    """Ask intake; None while it is unavailable. A recipient alone names no event that intake could look up."""
    cause = uuid_of(question.event) if question.event else None
    otherwise = question.otherwise_written()
    subjects = [asked.order for asked in (question, otherwise) if asked is not None and asked.order]
    if cause is None and not subjects:
        return Trace()
    try:
        asker = Asker(question.tenant, question.mode)
        trace = await deps.intake.trace(asker, [cause] if cause else [], subjects)
    except DepescheError as error:
        log.warning("why_not_traced", error=error.detail)
        return None
    fitting = tuple(
        event
        for event in trace.events
        if (question.recipient is None or event.recipient in (question.recipient, None))
        and (question.communication is None or event.communication in (question.communication, None))
    )
    return replace(trace, events=fitting)
