"""Handling provider callbacks: verify, translate (the provider's reader), then deduplicate, apply, publish (the
ledger).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from libs.addresses import InvalidAddress, phone_number
from libs.clock import Clock
from libs.contracts.outcomes import Channel, Mode
from libs.errors import Unauthorized
from libs.ids import AddressHasher
from libs.telemetry import get_logger
from libs.verp import ReturnPath
from services.delivery.domain.callbacks import Callback, News, ReceiptNews, ReplyNews
from services.delivery.domain.mail_vendors import Vendor
from services.delivery.domain.outbound import TwilioAccount
from services.delivery.ports import Callbacks, Nonces, Receipts, Replies, Senders, VendorWebhooks

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Receiving:
    """What callbacks need. `twilio` builds an account's reader from its auth tokens; `vendors` read mail vendors'
    webhooks, and `return_path` reads our signed path in them."""

    senders: Senders
    receipts: Receipts
    replies: Replies
    twilio: Callable[[Sequence[str]], Callbacks]
    simulator: Callbacks
    vendors: Mapping[Vendor, VendorWebhooks]
    nonces: Nonces
    return_path: ReturnPath
    hasher: AddressHasher
    clock: Clock
    public_url: str


@dataclass(frozen=True, slots=True)
class Whose:
    """The sender that a callback's URL names; trusted only because the signature covers the URL."""

    tenant: int
    mode: Mode
    number: int


async def receive_twilio(deps: Receiving, callback: Callback, whose: Whose) -> int:
    """Handle a status or a customer's SMS. Raises Unauthorized, also if there is no such sender, so that a stranger
    learns nothing from the difference."""
    key = (whose.tenant, whose.mode, Channel.SMS, whose.number)
    sender = (await deps.senders.get([key])).get(key)
    if sender is None or not isinstance(sender.account, TwilioAccount):
        raise Unauthorized("X-Twilio-Signature is wrong: check the auth token and the callback's public URL.")
    tokens = [sender.account.auth_token, *sender.account.further_auth_tokens]
    news = deps.twilio(tokens).read(callback, deps.clock())
    return await _apply(deps, news, whose)


async def receive_simulator(deps: Receiving, callback: Callback) -> int:
    """Handle receipts of the simulator. Raises Unauthorized, BadRequest, Invalid."""
    return await _apply(deps, deps.simulator.read(callback, deps.clock()), None)


async def _apply(deps: Receiving, news: Sequence[News], whose: Whose | None) -> int:
    """Return how many were new; a repeat is a success that changes nothing."""
    new = 0
    receipts = [one for one in news if isinstance(one, ReceiptNews)]
    if receipts:
        realm = (whose.tenant, whose.mode) if whose else None
        new += (await deps.receipts.receive(receipts, realm)).new
    replies = [(one, hash_) for one in news if isinstance(one, ReplyNews) and (hash_ := _hash(deps, one))]
    if replies and whose is not None:
        new += await deps.replies.publish(whose.tenant, whose.mode, replies)
    return new


def _hash(deps: Receiving, reply: ReplyNews) -> bytes | None:
    """Return None for short codes and words: they are not customers."""
    try:
        return phone_number(reply.address, None).hash(deps.hasher)
    except InvalidAddress:
        log.info("reply_ignored", provider=reply.provider)
        return None
