"""Owns the closed table of categories: the fact that a bounce states, its group, and the action that follows."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    SUPPRESS = "suppress"
    COUNT = "count"
    RETRY = "retry"
    FIX_SENDER = "fix-sender"
    IGNORE = "ignore"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Category:
    name: str
    group: str  # hard | soft | block | other
    action: Action


_TABLE: tuple[tuple[str, Action, str], ...] = (
    ("hard", Action.SUPPRESS, "unknown-user inactive bad-domain moved"),
    ("soft", Action.COUNT, "mailbox-full"),
    ("soft", Action.RETRY, "greylist throttled network expired system-error"),
    ("soft", Action.FIX_SENDER, "too-large"),
    ("block", Action.FIX_SENDER, "spam-content reputation-block auth-failure policy relay-denied"),
    ("block", Action.FIX_SENDER, "sender-rejected content-rejected virus"),
    ("block", Action.COUNT, "recipient-filter"),
    ("other", Action.FIX_SENDER, "protocol-error"),
    ("other", Action.SUPPRESS, "complaint unsubscribe"),
    ("other", Action.IGNORE, "auth-report auto-reply challenge delivered not-a-bounce suppressed-by-provider"),
    ("other", Action.REVIEW, "undetermined"),
)

CATEGORIES: dict[str, Category] = {
    name: Category(name, group, action) for group, action, names in _TABLE for name in names.split()
}
