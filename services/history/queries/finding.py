"""Finds the cases that a question is about."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from libs.ids import parse_message_id
from services.history.domain.case import Case, cases_of
from services.history.domain.facts import Decision, Message
from services.history.ports import Audit, Search, Timeline
from services.history.queries import Question, uuid_of

NEWEST = 50


async def find_cases(timeline: Timeline, audit: Audit, question: Question) -> list[Case]:
    """Return the newest cases that match every part of the question."""
    if question.message is not None:
        messages, decisions = await _of_message(timeline, audit, question)
    elif question.event is not None:
        messages, decisions = await _of_event(timeline, audit, question)
    else:
        messages, decisions = await asyncio.gather(
            timeline.messages(question.search(limit=NEWEST)), audit.decisions(question.search(limit=4 * NEWEST))
        )
        if question.recipient is not None and question.order is None:
            decisions = _as_far_back(decisions, messages)
    return [case for case in cases_of(messages, decisions) if _fits(case, question)]


async def _of_message(timeline: Timeline, audit: Audit, question: Question) -> tuple[list[Message], list[Decision]]:
    messages = await timeline.messages(question.search(limit=1))
    if not messages:
        return [], []
    wanted = _by_causes(question, tuple({message.cause_id for message in messages}))
    decisions = await audit.decisions(replace(wanted, recipient=messages[0].recipient))
    notification = parse_message_id(question.message or "")[0]
    return messages, [decision for decision in decisions if decision.notification_id == notification]


async def _of_event(timeline: Timeline, audit: Audit, question: Question) -> tuple[list[Message], list[Decision]]:
    event = question.event or ""
    wanted = Search(question.tenant, question.mode, recipient=question.recipient, event_id=event, limit=4 * NEWEST)
    decisions = await audit.decisions(wanted)
    causes = {decision.cause_id for decision in decisions}
    if not causes and (cause := uuid_of(event)) is not None:
        causes = {cause}
        decisions = await audit.decisions(_by_causes(question, (cause,)))
    messages = await timeline.messages(_by_causes(question, tuple(sorted(causes)))) if causes else []
    return messages, decisions


def _by_causes(question: Question, causes: tuple[UUID, ...]) -> Search:
    wanted = replace(question, message=None, event=None, order=None).search(limit=NEWEST)
    return replace(wanted, causes=causes, limit=4 * NEWEST)


def _as_far_back(decisions: list[Decision], messages: Iterable[Message]) -> list[Decision]:
    """Drop decisions older than the oldest message found: their messages may lie beyond the limit."""
    found = list(messages)
    if len({m.notification_id for m in found}) < NEWEST:
        return decisions
    oldest = min(m.cause_id for m in found)
    return [decision for decision in decisions if decision.cause_id >= oldest]


def _fits(case: Case, question: Question) -> bool:
    subject = case.messages[0].subject if case.messages else case.decisions[0].subject
    wrong_recipient = question.recipient is not None and case.recipient not in (question.recipient, None)
    return not (
        wrong_recipient
        or (question.order is not None and subject != question.order)
        or (question.communication is not None and case.communication not in (question.communication, None))
    )
