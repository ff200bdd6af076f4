"""Calls webhooks: one signed POST per message, no redirects, replies read to a small limit."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyreqwest.client import Client
from pyreqwest.exceptions import PyreqwestError

from libs import standard_webhooks
from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.rendering.contents import WebhookContent
from services.delivery.adapters.http_calls import sort_failure
from services.delivery.adapters.per_sender import PerSender
from services.delivery.adapters.webhook.targets import Targets
from services.delivery.domain.outbound import Outbound, Sender, WebhookAccount
from services.delivery.domain.outcomes import NOT_CALLED, Deferred, Outcome, Rejected
from services.delivery.domain.refusals.webhook import sort_reply
from services.delivery.domain.retry_after import retry_after_seconds
from services.delivery.ports import Settle

_REPLY_BYTES = 2_048


@dataclass(slots=True)
class _Line:
    account: WebhookAccount
    keys: list[bytes]
    targets: Targets
    places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.places = asyncio.Semaphore(self.account.connections)


class WebhookProvider:
    """The port's webhook provider. The clock gives the signed timestamp."""

    channel = Channel.WEBHOOK

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(_make, lambda line: None)

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        try:
            line = self._lines.get(sender)
        except ValueError as error:  # a secret that is none
            for index in range(len(messages)):
                settle(index, Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True))
            return
        indexes = iter(range(len(messages)))

        async def work() -> None:
            for index in indexes:
                async with line.places:
                    late = time.monotonic() >= deadline
                    settle(index, NOT_CALLED if late else await self._deliver(line, messages[index]))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(line.account.connections, len(messages))):
                group.create_task(work())

    async def close(self) -> None:
        for line in self._lines.drain():
            await line.targets.close()

    async def _deliver(self, line: _Line, message: Outbound) -> Outcome:
        if not isinstance(message.content, WebhookContent):
            return Rejected(Reason.INTERNAL, "a webhook sender was given something that is no webhook")
        try:
            client = await line.targets.client_for(message.address)
        except (OSError, PyreqwestError) as error:  # ca_file
            return Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True)
        if not isinstance(client, Client):
            return client
        return await self._post(line, client, message, message.content.body)

    async def _post(self, line: _Line, client: Client, message: Outbound, body: bytes) -> Outcome:
        # the same id for every attempt: it is what the receiver deduplicates by
        signed = standard_webhooks.sign(line.keys, message.tag, int(self._clock().timestamp()), body)
        headers = signed | {"content-type": "application/json"}
        try:
            request = client.post(message.address).headers(headers).body_bytes(body).build_streamed()
            async with request as response:
                said = await response.body_reader.read(_REPLY_BYTES) if response.status >= 300 else b""
                wait = retry_after_seconds(response.get_header("retry-after"), self._clock())
                return sort_reply(response.status, bytes(said or b""), wait)
        except PyreqwestError as error:
            return sort_failure(error)


def _make(sender: Sender) -> _Line:
    account = sender.account
    if not isinstance(account, WebhookAccount):
        raise TypeError(f"sender {sender.number} is no webhook sender")
    keys = [standard_webhooks.secret_bytes(secret) for secret in account.secrets]
    if not keys:
        raise ValueError("the sender has no secret to sign webhooks with")
    return _Line(account, keys, Targets(account))
