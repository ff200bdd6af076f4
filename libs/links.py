"""Signed links that customers follow without a key; so far the unsubscribe link of marketing mail (RFC 8058).

The token is base64url (no padding) of a version byte, a msgpack array and a 16-byte MAC over both. It holds
everything that unsubscribing needs, so it works as long as the mail exists. It does not expire (laws require 30 days
and more): what it allows is minor and can be undone.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass

import msgspec

from libs.contracts.outcomes import Channel, Mode
from libs.mac import mac_of

UNSUBSCRIBE_PATH = "/tokens/v1/unsubscribe/"
LINKS = "links"  # the keyring's purpose

_VERSION = 1
_UNSUBSCRIBE = "u"  # covered by the MAC: a later kind of link, signed with the same key, cannot stand in for this one
_MAC_BYTES = 16
_MAX_CHARACTERS = 1_500


@dataclass(frozen=True, slots=True)
class UnsubscribeLink:
    """Who unsubscribes from what, on which channel. `message` (its id) becomes part of the consent's proof."""

    tenant: int
    mode: Mode
    recipient: str
    topic: str
    channel: Channel
    message: str = ""


def sign_unsubscribe(key: bytes, link: UnsubscribeLink) -> str:
    """Return the token; it is base64url, so it needs no escaping in a path."""
    fields = (
        _UNSUBSCRIBE,
        link.tenant,
        int(link.mode),
        link.recipient,
        link.topic,
        int(link.channel),
        link.message,
    )
    body = bytes((_VERSION,)) + msgspec.msgpack.encode(fields)
    return base64.urlsafe_b64encode(body + _mac(key, body)).rstrip(b"=").decode()


def unsubscribe_url(key: bytes, public_url: str, link: UnsubscribeLink) -> str:
    """Return the full link for `List-Unsubscribe` and the text: our public URL, our path, the token."""
    return public_url.rstrip("/") + UNSUBSCRIBE_PATH + sign_unsubscribe(key, link)


def read_unsubscribe(key: bytes, token: str) -> UnsubscribeLink | None:
    """Return the token's content, or None if we did not sign it."""
    if len(token) > _MAX_CHARACTERS or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not body or body[0] != _VERSION or not hmac.compare_digest(mac, _mac(key, body)):
        return None
    try:
        kind, tenant, mode, recipient, topic, channel, message = msgspec.msgpack.decode(
            body[1:], type=tuple[str, int, int, str, str, int, str]
        )
        link = UnsubscribeLink(tenant, Mode(mode), recipient, topic, Channel(channel), message)
    except (msgspec.MsgspecError, ValueError):
        return None
    return link if kind == _UNSUBSCRIBE else None


def _mac(key: bytes, body: bytes) -> bytes:
    return mac_of(key).digest(body)[:_MAC_BYTES]
