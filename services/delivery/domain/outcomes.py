"""What came of one call to a provider, in four types that are matched exhaustively.

*Definite*: Sent, Rejected. *Not sent*: Deferred (it may be tried again with the next attempt).
*Nobody knows*: Ambiguous (the request was handed over and no answer came): the communication's
`on_unknown` decides. A provider never guesses: what it cannot prove refused is ambiguous.
"""

import msgspec

from libs.contracts.reasons import Reason


class Sent(msgspec.Struct, frozen=True):
    """The provider accepted it. `provider_ref` is its own id of the message, where it gives one."""

    provider_ref: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """The provider refused it for good; trying again would be refused again.

    `code` is the protocol's number (HTTP status, SMTP reply), `enhanced` the RFC 3463 code, `error` the
    provider's own word. `retire`: the address is dead. `sender_fault`: our set-up is wrong, not the address.
    """

    reason: Reason
    text: str
    code: int | None = None
    enhanced: str | None = None
    error: str | None = None
    retire: bool = False
    sender_fault: bool = False


class Deferred(msgspec.Struct, frozen=True):
    """It was certainly not sent, and may be tried again, not before `retry_after` seconds (where given).

    `called` is False where the provider was not asked at all (deadline, breaker): that is no attempt of
    the provider's, and no refusing reply. `sender_fault`: the breaker opens and an operator is alarmed.
    """

    reason: Reason
    text: str
    retry_after: float | None = None
    called: bool = True
    code: int | None = None
    enhanced: str | None = None
    error: str | None = None
    sender_fault: bool = False


class Ambiguous(msgspec.Struct, frozen=True):
    """It was handed over and no answer came: TIMED_OUT or CONNECTION_LOST."""

    reason: Reason
    text: str


Outcome = Sent | Rejected | Deferred | Ambiguous

# the worker's own deadline came before this message's turn: it goes back untouched
NOT_CALLED: Outcome = Deferred(Reason.THROTTLED, "the lease ended before its turn", retry_after=0.0, called=False)
