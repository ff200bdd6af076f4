"""One chunk of pushes in flight: each is encoded when its turn comes, and settled when its reply does."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from libs.clock import Clock
from libs.contracts.reasons import Reason
from libs.rendering.contents import PushContent
from libs.retry_after import retry_after_seconds
from services.delivery.adapters.fcm.encoding import PushEncoder
from services.delivery.adapters.http2 import Call, Failure, Fields, Head, Lost
from services.delivery.domain.outbound import Outbound
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals import page_outcome
from services.delivery.domain.refusals.fcm import sort_reply
from services.delivery.ports import Settle

_TEXT_LIMIT = 300
_APNS_KEY = "THIRD_PARTY_AUTH_ERROR"  # a 401 that is not about our token
_NO_PUSH = Rejected(Reason.INTERNAL, "a push sender was given content that is not a push")


class _Accepted(msgspec.Struct):
    name: str | None = None


_decode = msgspec.json.Decoder(_Accepted).decode


@dataclass(frozen=True, slots=True)
class Desk:
    """What all chunks of a sender share. `refuse` gets the header fields whose login FCM rejected."""

    encoder: PushEncoder
    clock: Clock
    refuse: Callable[[Fields], None]


class Chunk:
    """A batch for the pool. Each index is in one place: not yet taken, on a connection, or settled.

    Connections call it from the event loop, where an exception would reach nobody and cost all other chunks their
    replies. So an exception from one push becomes its outcome, and one from `settle` ends the chunk through `done`."""

    def __init__(self, desk: Desk, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = len(messages)
        self._desk = desk
        self._messages = messages
        self.deadline = deadline
        self._settle = settle
        self._next = 0
        self._again: list[int] = []
        self.left = len(messages)

    # ---- for the pool

    def take(self, now: float) -> Call | None:
        """Return the next message that can be sent, encoded."""
        if now >= self.deadline:
            self.settle_waiting(NOT_CALLED)
        while self.waiting:
            self.waiting -= 1
            again = bool(self._again)
            if again:
                index = self._again.pop()
            else:
                index = self._next
                self._next += 1
            body = self._encoded(self._messages[index])
            if isinstance(body, bytes):
                call = Call(self, index, body)
                call.again = again
                return call
            self._done(index, body)
        return None

    def give_back(self, call: Call) -> None:
        if self.done.done():
            return  # the chunk has failed: nothing more of it begins
        self._again.append(call.index)
        self.waiting += 1

    def answered(self, call: Call, head: Head, body: bytes) -> None:
        self._done(call.index, _accepted(body) if head.status == 200 else self._refused(call, head, body))

    def failed(self, call: Call, failure: Failure) -> None:
        self._done(call.index, _sorted(failure))

    def fail_waiting(self, failure: Failure) -> None:
        self.settle_waiting(_sorted(failure))

    # ---- for the provider

    def settle_waiting(self, outcome: Outcome) -> None:
        """Settle all messages that have not been taken with one outcome."""
        indexes = [*self._again, *range(self._next, len(self._messages))]
        self._again.clear()
        self._next, self.waiting = len(self._messages), 0
        for index in indexes:
            self._done(index, outcome)

    def _encoded(self, message: Outbound) -> bytes | Rejected:
        if not isinstance(message.content, PushContent):
            return _NO_PUSH
        try:
            return self._desk.encoder.encode(message, message.content)
        except UnicodeEncodeError as error:  # a lone surrogate, which JSON cannot represent
            return Rejected(Reason.PAYLOAD_INVALID, f"a text that is not valid Unicode: {error}")
        except Exception as error:  # noqa: BLE001 — whatever it is, it must not affect the rest of the chunk
            return Rejected(Reason.INTERNAL, f"the push cannot be encoded: {error!r}"[:_TEXT_LIMIT])

    def _refused(self, call: Call, head: Head, body: bytes) -> Outcome:
        stated = head.fields.get(b"retry-after")
        wait = retry_after_seconds(stated.decode("latin-1") if stated else None, self._desk.clock())
        outcome = sort_reply(head.status, body, wait)
        if head.status == 401 and not (isinstance(outcome, Deferred) and outcome.error == _APNS_KEY):
            self._desk.refuse(call.fields)
        return outcome

    def _done(self, index: int, outcome: Outcome) -> None:
        self.left -= 1
        try:
            self._settle(index, outcome)
        except Exception as error:  # noqa: BLE001 — passed to the chunk's caller
            self._fail(error)
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)

    def _fail(self, error: Exception) -> None:
        """Begin nothing more. Replies are still settled until the caller has gone: each arrives only once."""
        self._again.clear()
        self._next, self.waiting = len(self._messages), 0
        if not self.done.done():
            self.done.set_exception(error)


def _sorted(failure: Failure) -> Outcome:
    """Classify a failure: not sent only if that is certain, else unknown."""
    match failure.lost:
        case Lost.NOT_SENT if failure.our_fault:
            return Deferred(Reason.SENDER_MISCONFIGURED, failure.text, sender_fault=True)
        case Lost.NOT_SENT:
            return Deferred(Reason.PROVIDER_UNAVAILABLE, failure.text)
        case Lost.TIMED_OUT:
            return Ambiguous(Reason.TIMED_OUT, failure.text)
        case Lost.CUT:
            return Ambiguous(Reason.CONNECTION_LOST, failure.text)


def _accepted(said: bytes) -> Outcome:
    """FCM accepted it; its id is the last part of projects/…/messages/…."""
    if (page := page_outcome("FCM", 200, said)) is not None:
        return page
    try:
        name = _decode(said).name
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        name = None
    return Sent(name.rpartition("/")[2] if name else None)
