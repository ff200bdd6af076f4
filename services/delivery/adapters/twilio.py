"""Sends SMS by Twilio's REST API (twilio.com/docs/messaging/api/message-resource)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import msgspec
from pyreqwest.client import Client
from pyreqwest.exceptions import PyreqwestError

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.rendering.contents import SmsContent
from services.delivery.adapters.http_calls import Lane, call_each, client_builder, sort_failure
from services.delivery.adapters.per_sender import PerSender
from services.delivery.domain.outbound import Outbound, Sender, TwilioAccount
from services.delivery.domain.outcomes import Outcome, Rejected, Sent
from services.delivery.domain.refusals.twilio import sort_reply
from services.delivery.domain.retry_after import retry_after_seconds
from services.delivery.ports import Settle

_LONGEST_VALIDITY = 36_000  # ten hours: what Twilio keeps a message for


class _Created(msgspec.Struct):
    sid: str | None = None


_decode = msgspec.json.Decoder(_Created).decode


@dataclass(slots=True)
class _Line:
    account: TwilioAccount
    url: str
    lane: Lane | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class TwilioProvider:
    """The port's SMS provider."""

    channel = Channel.SMS

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(_make, lambda line: None)

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        if not messages:
            return
        line = self._lines.get(sender)

        async def call(client: Client, index: int) -> Outcome:
            return await self._call(line, client, messages[index])

        await call_each(await _lane(line), len(messages), deadline, settle, call)

    async def close(self) -> None:
        for line in self._lines.drain():
            if line.lane is not None:
                await line.lane.client.close()

    async def _call(self, line: _Line, client: Client, message: Outbound) -> Outcome:
        content, account = message.content, line.account
        if not isinstance(content, SmsContent):
            return Rejected(Reason.INTERNAL, "an SMS sender was given something that is no SMS")
        service = account.originator.startswith("MG")
        form = {
            "To": message.address,
            "MessagingServiceSid" if service else "From": account.originator,
            "Body": content.text,
            "StatusCallback": callback_url(account.callback_url, message),
            "ValidityPeriod": str(max(1, min(message.ttl_seconds, _LONGEST_VALIDITY))),
        }
        try:
            request = client.post(line.url).basic_auth(account.account_sid, account.auth_token).form(form)
            response = await request.build().send()
            said = (await response.bytes()).to_bytes()
        except PyreqwestError as error:
            return sort_failure(error)
        if response.status in (200, 201):
            return _created(said)
        wait = retry_after_seconds(response.get_header("retry-after"), self._clock())
        return sort_reply(response.status, said, wait)


def callback_url(base: str, message: Outbound) -> str:
    """Where Twilio reports this attempt's fate: signed with the rest of the URL, so the query can be believed."""
    query = urlencode({"message": message.tag, "attempt": message.attempt})
    return f"{base}{'&' if '?' in base else '?'}{query}"


def _make(sender: Sender) -> _Line:
    account = sender.account
    if not isinstance(account, TwilioAccount):
        raise TypeError(f"sender {sender.number} is no SMS sender")
    sid = quote(account.account_sid, safe="")
    return _Line(account, f"{account.url.rstrip('/')}/2010-04-01/Accounts/{sid}/Messages.json")


async def _lane(line: _Line) -> Lane:
    async with line.opening:
        if line.lane is None:
            client = await asyncio.to_thread(client_builder(line.account.timeout_seconds).build)
            line.lane = Lane(client, line.account.connections)
    return line.lane


def _created(said: bytes) -> Outcome:
    try:
        return Sent(_decode(said).sid)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Sent()
