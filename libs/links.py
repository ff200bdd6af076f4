"""Signed links that customers follow without a key; so far the unsubscribe link of marketing mail (RFC 8058).

The token is base64url (no padding) of a version byte, a msgpack array and a 16-byte MAC over both. It holds
everything that unsubscribing needs, so it works as long as the mail exists. It does not expire (laws require 30 days
and more): what it allows is minor and can be undone.

The link must fit into one header line (998 octets, RFC 5322 §2.1.1; a URL cannot be folded). A recipient's key of 200
characters in a script far from ASCII would not, in UTF-8: such a token has version 2, and packs the key's code points
and the message's id. It is then at most 880 characters long.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Mode
from libs.ids import message_id, parse_message_id
from libs.mac import mac_of

UNSUBSCRIBE_PATH = "/tokens/v1/unsubscribe/"
LINKS = "links"  # the keyring's purpose

_VERSION = 1
_PACKED = 2
_UNSUBSCRIBE = "u"  # covered by the MAC: a later kind of link, signed with the same key, cannot stand in for this one
_MAC_BYTES = 16
_MAX_CHARACTERS = 1_500
_PACK_FROM = 400  # bytes of the key in UTF-8
_CODE_POINTS = 0x110000
_AS_TEXT, _AS_ID = b"\0", b"\1"


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
    packed = len(link.recipient.encode()) > _PACK_FROM
    fields = (
        _UNSUBSCRIBE,
        link.tenant,
        int(link.mode),
        _packed(link.recipient) if packed else link.recipient,
        link.topic,
        int(link.channel),
        _packed_message(link.message) if packed else link.message,
    )
    body = bytes((_PACKED if packed else _VERSION,)) + msgspec.msgpack.encode(fields)
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
    if not body or body[0] not in (_VERSION, _PACKED) or not hmac.compare_digest(mac, _mac(key, body)):
        return None
    try:
        kind, tenant, mode, recipient, topic, channel, message = _decoded(body)
        link = UnsubscribeLink(tenant, Mode(mode), recipient, topic, Channel(channel), message)
    except (msgspec.MsgspecError, ValueError):
        return None
    return link if kind == _UNSUBSCRIBE else None


def _decoded(body: bytes) -> tuple[str, int, int, str, str, int, str]:
    if body[0] == _VERSION:
        return msgspec.msgpack.decode(body[1:], type=tuple[str, int, int, str, str, int, str])
    fields = msgspec.msgpack.decode(body[1:], type=tuple[str, int, int, bytes, str, int, bytes])
    return *fields[:3], _unpacked(fields[3]), *fields[4:6], _unpacked_message(fields[6])


def _packed(text: str) -> bytes:
    """Return the text as one number: 20 bits and a little a character, whatever the script."""
    number = 1  # so that a leading U+0000 counts
    for character in text:
        number = number * _CODE_POINTS + ord(character)
    return number.to_bytes((number.bit_length() + 7) // 8)


def _unpacked(packed: bytes) -> str:
    number, found = int.from_bytes(packed), []
    while number > 1:
        number, point = divmod(number, _CODE_POINTS)
        found.append(chr(point))
    return "".join(reversed(found))


def _packed_message(message: str) -> bytes:
    try:
        notification, address = parse_message_id(message)
    except ValueError:
        return _AS_TEXT + message.encode()
    return _AS_ID + notification.bytes + address.to_bytes(8)


def _unpacked_message(packed: bytes) -> str:
    if packed[:1] == _AS_TEXT:
        return packed[1:].decode()
    return message_id(UUID(bytes=packed[1:17]), int.from_bytes(packed[17:]))


def _mac(key: bytes, body: bytes) -> bytes:
    return mac_of(key).digest(body)[:_MAC_BYTES]
