"""Counts transitions for dashboards: collected during a transaction, reported once it has committed."""

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from prometheus_client import Counter

from libs.contracts.delivery import Transition

_messages = Counter(
    "depesche_delivery_messages",
    "Messages that entered a status, by its reason; an unknown message that turned out sent counts in both",
    ["status", "reason", "channel"],
)
_Key = tuple[str, str, str | None]
_gathered: ContextVar["Tally[_Key] | None"] = ContextVar("delivery_transitions", default=None)


@contextmanager
def counted() -> Iterator[None]:
    """Wrap a transaction: its transitions are counted if it commits, and dropped if it rolls back."""
    tally: Tally[_Key] = Tally()
    token = _gathered.set(tally)
    try:
        yield
    finally:
        _gathered.reset(token)
    for (status, reason, channel), count in tally.items():
        _messages.labels(status, reason, channel or "none").inc(count)


def note(transitions: Sequence[Transition]) -> None:
    """Add transitions to the surrounding transaction's tally, if there is one."""
    tally = _gathered.get()
    if tally is not None:
        tally.update([(item.is_, item.reason, item.channel) for item in transitions if item.is_ != item.was])
