"""Counts transitions for dashboards: gathered while a transaction runs, told once it has committed."""

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from prometheus_client import Counter

from libs.contracts.delivery import Transition

_messages = Counter(
    "depesche_delivery_messages",
    "Messages that came into a status, by its reason; an unknown that turned out sent is counted in both",
    ["status", "reason", "channel"],
)
_Key = tuple[str, str, str | None]
_gathered: ContextVar["Tally[_Key] | None"] = ContextVar("delivery_transitions", default=None)


@contextmanager
def counted() -> Iterator[None]:
    """Around a transaction: what it notes is counted when it has ended well, and forgotten when it was rolled back."""
    tally: Tally[_Key] = Tally()
    token = _gathered.set(tally)
    try:
        yield
    finally:
        _gathered.reset(token)
    for (status, reason, channel), count in tally.items():
        _messages.labels(status, reason, channel or "none").inc(count)


def note(transitions: Sequence[Transition]) -> None:
    """Adds transitions to the tally of the transaction around, if it is counted."""
    tally = _gathered.get()
    if tally is not None:
        tally.update([(item.is_, item.reason, item.channel) for item in transitions if item.is_ != item.was])
