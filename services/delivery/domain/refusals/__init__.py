"""Tables of providers' refusals: which are final, which may be retried, which are our fault.

One module per provider, each a pure function from the reply to an outcome.
"""

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Deferred


def page_outcome(provider: str, status: int, body: bytes) -> Deferred | None:
    """Return the outcome of an HTML page, of a proxy or a login, instead of the provider's JSON; None if it is no page.

    Whatever its status, the provider has not seen the message.
    """
    if body.lstrip()[:1] != b"<":
        return None
    text = f"HTTP {status} with a page instead of {provider}'s JSON"
    return Deferred(Reason.SENDER_MISCONFIGURED, text, code=status, sender_fault=True)
