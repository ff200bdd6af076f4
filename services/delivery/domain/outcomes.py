"""The result of one call to a provider, in four types that are matched exhaustively.

*Definite*: Sent, Rejected. *Not sent*: Deferred (the next attempt may retry). *Unknown*: Ambiguous (the request was
handed over and no reply came); the communication's `on_unknown` decides. A provider never guesses: what it cannot
prove refused is ambiguous.
"""

import msgspec

from libs.contracts.reasons import Reason


class Sent(msgspec.Struct, frozen=True):
    """The provider accepted it. `provider_ref` is its own id of the message, if it returns one."""

    provider_ref: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """The provider refused it permanently; a retry would be refused again.

    `code` is the protocol's number (HTTP status, SMTP reply), `enhanced` the RFC 3463 code, `error` the provider's
    own word. `retire`: the address is dead. `sender_fault`: our configuration is wrong, not the address."""

    reason: Reason
    text: str
    code: int | None = None
    enhanced: str | None = None
    error: str | None = None
    retire: bool = False
    sender_fault: bool = False


class Deferred(msgspec.Struct, frozen=True):
    """It was certainly not sent, and may be retried, not before `retry_after` seconds (if given).

    `called` is False if the provider was not called at all (deadline, breaker): then it is neither an attempt nor a
    refusal by the provider. `sender_fault`: the breaker opens and an operator is alarmed."""

    reason: Reason
    text: str
    retry_after: float | None = None
    called: bool = True
    code: int | None = None
    enhanced: str | None = None
    error: str | None = None
    sender_fault: bool = False


class Ambiguous(msgspec.Struct, frozen=True):
    """It was handed over and no reply came: TIMED_OUT or CONNECTION_LOST."""

    reason: Reason
    text: str


Outcome = Sent | Rejected | Deferred | Ambiguous

# the worker's own deadline came before this message's turn: it goes back untouched
NOT_CALLED: Outcome = Deferred(Reason.THROTTLED, "the lease ended before its turn", retry_after=0.0, called=False)
