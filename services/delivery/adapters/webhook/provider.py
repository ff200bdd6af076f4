"""Calls webhooks: one signed POST per message, no redirects, replies read to a small limit."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs import standard_webhooks
from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.http_replies import Reply
from libs.rendering.contents import WebhookContent
from libs.retry_after import retry_after_seconds
from services.delivery.adapters.http_calls import Lane, Limits, call_each, until
from services.delivery.adapters.per_sender import PerSender
from services.delivery.adapters.webhook.targets import GuardedNetwork, refusal
from services.delivery.domain.outbound import Outbound, Sender, WebhookAccount
from services.delivery.domain.outcomes import NOT_CALLED, Deferred, Outcome, Rejected
from services.delivery.domain.refusals.webhook import sort_reply
from services.delivery.ports import Settle

_REPLY_BYTES = 2_048


@dataclass(slots=True)
class _Line:
    account: WebhookAccount
    keys: list[bytes]
    lane: Lane


class WebhookProvider:
    """The port's webhook provider. The clock supplies the signed timestamp."""

    channel = Channel.WEBHOOK

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines = PerSender(_make, lambda line: line.lane.retire())

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        try:
            line = self._lines.get(sender)
        except ValueError as error:  # an invalid secret
            for index in range(len(messages)):
                settle(index, Deferred(Reason.SENDER_MISCONFIGURED, str(error), called=False, sender_fault=True))
            return

        async def call(index: int) -> Outcome:
            return await self._deliver(line, messages[index])

        await call_each(line.lane, len(messages), settle, until(deadline, call, NOT_CALLED))

    async def close(self) -> None:
        for line in self._lines.drain():
            await line.lane.close()

    async def _deliver(self, line: _Line, message: Outbound) -> Outcome:
        content, url = message.content, message.address
        if not isinstance(content, WebhookContent):
            return Rejected(Reason.INTERNAL, "a webhook sender was given content that is not a webhook")
        if (refused := refusal(url, allow_private=line.account.allow_private)) is not None:
            return refused
        # the same id for every attempt: the receiver deduplicates by it
        signed = standard_webhooks.sign(line.keys, message.tag, int(self._clock().timestamp()), content.body)
        reply = await line.lane.post(url, signed | {"content-type": "application/json"}, content.body)
        if not isinstance(reply, Reply):
            return reply
        said = reply.body if reply.status >= 300 else b""
        return sort_reply(reply.status, said, retry_after_seconds(reply.retry_after, self._clock()))


def _make(sender: Sender) -> _Line:
    account = sender.account
    if not isinstance(account, WebhookAccount):
        raise TypeError(f"sender {sender.number} is not a webhook sender")
    keys = [standard_webhooks.secret_bytes(secret) for secret in account.secrets]
    if not keys:
        raise ValueError("the sender has no secret to sign webhooks with")
    limits = Limits(account.timeout_seconds, account.connections, _REPLY_BYTES, account.ca_file)
    return _Line(account, keys, Lane(limits, GuardedNetwork(allow_private=account.allow_private)))
