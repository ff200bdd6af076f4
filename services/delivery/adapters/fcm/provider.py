"""Sends pushes: several HTTP/2 connections per sender, at most 100 calls in flight on each."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from pyreqwest.client import Client
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.http import Url

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.rendering.contents import PushContent
from services.delivery.adapters.fcm.credentials import TokenSource, token_source
from services.delivery.adapters.fcm.encoding import PushEncoder
from services.delivery.adapters.http_calls import Lane, call_each, client_builder, sort_failure, trusting
from services.delivery.adapters.per_sender import PerSender
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import NOT_CALLED, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals.fcm import sort_reply
from services.delivery.domain.retry_after import retry_after_seconds
from services.delivery.ports import Settle

_APNS_KEY = "THIRD_PARTY_AUTH_ERROR"  # a 401 that is not about our token
_IN_FLIGHT = 100  # per connection; what FCM's servers allow

_PING_EVERY = timedelta(seconds=15)
_PING_ANSWER = timedelta(seconds=5)


class _Accepted(msgspec.Struct):
    name: str | None = None


_decode = msgspec.json.Decoder(_Accepted).decode


@dataclass(slots=True)
class _Line:
    """What is kept for a sender."""

    account: FcmAccount
    url: Url  # parsed once: parsing costs as much as all else that is done here per push
    tokens: TokenSource
    encoder: PushEncoder
    lanes: list[Lane] = field(default_factory=list)
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class FcmProvider:
    """The port's push provider. The clock serves `Retry-After` dates and APNs' expiry."""

    channel = Channel.PUSH

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(self._make, lambda line: None)  # lanes in use end with their last call

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        if not messages:
            return
        try:
            line = self._lines.get(sender)
            lanes = await _lanes(line)
        except (ValueError, OSError, PyreqwestError) as error:  # its service account or its certificates
            outcome = Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True)
            for index in range(len(messages)):
                settle(index, outcome)
            return

        async def call(client: Client, index: int) -> Outcome:
            bearer = await line.tokens.bearer()
            if isinstance(bearer, Deferred):
                return bearer
            if time.monotonic() >= deadline:  # the login took its time
                return NOT_CALLED
            return await self._call(line, client, messages[index], bearer)

        await call_each(lanes, len(messages), deadline, settle, call)

    async def _call(self, line: _Line, client: Client, message: Outbound, bearer: str) -> Outcome:
        if not isinstance(message.content, PushContent):
            return Rejected(Reason.INTERNAL, "a push sender was given something that is no push")
        body = line.encoder.encode(message, message.content)
        try:
            response = await client.post(line.url).bearer_auth(bearer).body_bytes(body).build().send()
            said = (await response.bytes()).to_bytes()
        except PyreqwestError as error:
            return sort_failure(error)
        if response.status == 200:
            return _accepted(said)
        wait = retry_after_seconds(response.get_header("retry-after"), self._clock())
        outcome = sort_reply(response.status, said, wait)
        if response.status == 401 and not (isinstance(outcome, Deferred) and outcome.error == _APNS_KEY):
            line.tokens.refuse(bearer)
        return outcome

    async def close(self) -> None:
        for line in self._lines.drain():
            for lane in line.lanes:
                await lane.client.close()

    def _make(self, sender: Sender) -> _Line:
        account = sender.account
        if not isinstance(account, FcmAccount):
            raise TypeError(f"sender {sender.number} is no push sender")
        url = f"{account.url.rstrip('/')}/v1/projects/{account.project}/messages:send"
        encoder = PushEncoder(lambda: self._clock().timestamp())
        return _Line(account, Url(url), token_source(account), encoder)


async def _lanes(line: _Line) -> list[Lane]:
    async with line.opening:
        if not line.lanes:
            # building a client reads certificates: off the loop
            clients = await asyncio.to_thread(_clients, line.account)
            line.lanes = [Lane(client, _IN_FLIGHT) for client in clients]
    return line.lanes


def _clients(account: FcmAccount) -> list[Client]:
    """One client is one HTTP/2 connection."""
    return [
        trusting(client_builder(account.timeout_seconds), account.ca_file)
        .http2_prior_knowledge()
        # a connection that died without a word would swallow a hundred pushes each time-out: ask whether it lives
        .http2_keep_alive_interval(_PING_EVERY)
        .http2_keep_alive_timeout(_PING_ANSWER)
        .http2_keep_alive_while_idle(True)
        .default_headers({"content-type": "application/json"})
        .build()
        for _ in range(account.connections)
    ]


def _accepted(said: bytes) -> Outcome:
    """FCM took it; its id is the last part of projects/…/messages/…."""
    try:
        name = _decode(said).name
    except msgspec.MsgspecError:
        name = None
    return Sent(name.rpartition("/")[2] if name else None)
