"""Sends SMS through Twilio's REST API (twilio.com/docs/messaging/api/message-resource)."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import msgspec

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.http_replies import Reply
from libs.rendering.contents import SmsContent
from libs.retry_after import retry_after_seconds
from services.delivery.adapters import twilio_callbacks, twilio_messages
from services.delivery.adapters.http_calls import Lane, Limits, call_each, until
from services.delivery.adapters.per_sender import PerSender
from services.delivery.domain.outbound import Outbound, Sender, TwilioAccount
from services.delivery.domain.outcomes import NOT_CALLED, Outcome, Rejected, Sent
from services.delivery.domain.refusals import page_outcome
from services.delivery.domain.refusals.twilio import sort_reply
from services.delivery.domain.verifying import Answer, Unclear
from services.delivery.ports import Settle, Tell

_REPLY_BYTES = 32_768  # a message's text comes back in it, each letter as up to six
_NOT_ASKED: Answer = Unclear("there was no time left to query it")
_LONGEST_VALIDITY = 36_000  # ten hours: how long Twilio holds a message


class _Created(msgspec.Struct):
    sid: str | None = None


_decode = msgspec.json.Decoder(_Created).decode


@dataclass(slots=True)
class _Line:
    account: TwilioAccount
    url: str
    authorization: str
    lane: Lane


class TwilioProvider:
    """The port's SMS provider. It can also be queried, but lists messages by number only: of all that we send Twilio
    with a message, only the text appears in the list."""

    channel = Channel.SMS

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(_make, lambda line: line.lane.retire())

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        if not messages:
            return
        line = self._lines.get(sender)

        async def call(index: int) -> Outcome:
            return await self._call(line, messages[index])

        await call_each(line.lane, len(messages), settle, until(deadline, call, NOT_CALLED))

    def receipts_of(self, ref: str) -> Sequence[tuple[str, str]]:
        """See the port."""
        return twilio_callbacks.receipts_of(ref)

    async def ask(self, sender: Sender, addresses: Sequence[str], deadline: float, tell: Tell) -> None:
        """See the port."""
        line = self._lines.get(sender)

        async def call(index: int) -> Answer:
            return await self._asked(line, addresses[index])

        await call_each(line.lane, len(addresses), tell, until(deadline, call, _NOT_ASKED))

    async def close(self) -> None:
        for line in self._lines.drain():
            await line.lane.close()

    async def _call(self, line: _Line, message: Outbound) -> Outcome:
        content, account = message.content, line.account
        if not isinstance(content, SmsContent):
            return Rejected(Reason.INTERNAL, "an SMS sender was given content that is not an SMS")
        service = account.originator.startswith("MG")
        form = {
            "To": message.address,
            "MessagingServiceSid" if service else "From": account.originator,
            "Body": content.text,
            "StatusCallback": callback_url(account.callback_url, message),
            "ValidityPeriod": str(max(1, min(message.ttl_seconds, _LONGEST_VALIDITY))),
        }
        headers = {"authorization": line.authorization, "content-type": "application/x-www-form-urlencoded"}
        reply = await line.lane.post(line.url, headers, urlencode(form).encode())
        if not isinstance(reply, Reply):
            return reply
        if reply.status in (200, 201):
            return _created(reply)
        return self._sorted(reply)

    async def _asked(self, line: _Line, number: str) -> Answer:
        url = f"{line.url}?{twilio_messages.question(number)}"
        reply = await line.lane.get(url, {"authorization": line.authorization}, twilio_messages.PAGE_BYTES)
        if not isinstance(reply, Reply):
            return twilio_messages.unclear_of(reply)
        if reply.status != 200:
            return twilio_messages.unclear_of(self._sorted(reply))
        return twilio_messages.taken_of(reply.body)

    def _sorted(self, reply: Reply) -> Outcome:
        return sort_reply(reply.status, reply.body, retry_after_seconds(reply.retry_after, self._clock()))


def callback_url(base: str, message: Outbound) -> str:
    """Return the URL for Twilio's reports about this attempt: Twilio signs the whole URL, so the query
    can be trusted."""
    query = urlencode({"message": message.tag, "attempt": message.attempt})
    return f"{base}{'&' if '?' in base else '?'}{query}"


def _make(sender: Sender) -> _Line:
    account = sender.account
    if not isinstance(account, TwilioAccount):
        raise TypeError(f"sender {sender.number} is not an SMS sender")
    sid = quote(account.account_sid, safe="")
    login = base64.b64encode(f"{account.account_sid}:{account.auth_token}".encode()).decode()
    return _Line(
        account,
        f"{account.url.rstrip('/')}/2010-04-01/Accounts/{sid}/Messages.json",
        f"Basic {login}",
        Lane(Limits(account.timeout_seconds, account.connections, _REPLY_BYTES)),
    )


def _created(reply: Reply) -> Outcome:
    if (page := page_outcome("Twilio", reply.status, reply.body)) is not None:
        return page
    try:
        return Sent(_decode(reply.body).sid)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Sent()
