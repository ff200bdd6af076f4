"""Reads Twilio's list of messages to a number (twilio.com/docs/messaging/api/message-resource, "read multiple").

One page of the largest size, and no filter by date: Twilio filters by the date of sending, which a message that still
waits at Twilio does not have. If there are more than fit on the page, the answer is unclear: a missing message may be
on the next page.
"""

from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import msgspec

from libs.rendering import content_digest
from libs.rendering.contents import SmsContent
from services.delivery.domain.outcomes import Outcome, Sent
from services.delivery.domain.verifying import Answer, Taken, Unclear

PAGE_BYTES = 4 << 20
_PAGE = 1_000  # Twilio's largest


class _Message(msgspec.Struct):
    sid: str
    date_created: str
    body: str | None = None
    direction: str = ""


class _Page(msgspec.Struct):
    messages: list[_Message]
    next_page_uri: str | None = None


_decode = msgspec.json.Decoder(_Page).decode


def question(number: str) -> str:
    """Return the list's query: all messages to the number."""
    return urlencode({"To": number, "PageSize": _PAGE})


def taken_of(body: bytes) -> Answer:
    """Parse the list: the messages to the number that Twilio accepted from us."""
    try:
        page = _decode(body)
        taken = [_taken(message) for message in page.messages if message.direction.startswith("outbound")]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        return Unclear("Twilio's list of messages could not be read")
    if page.next_page_uri:
        return Unclear(f"Twilio has more than {_PAGE:,} messages to this number")
    return taken


def unclear_of(outcome: Outcome) -> Unclear:
    """Convert the outcome of a call that returned no list."""
    assert not isinstance(outcome, Sent)
    return Unclear(f"Twilio was queried but did not answer: {outcome.text}", getattr(outcome, "retry_after", None))


def _taken(message: _Message) -> Taken:
    return Taken(
        message.sid, content_digest(SmsContent(message.body or "")), parsedate_to_datetime(message.date_created)
    )
