"""Webhooks without a signature: a secret that the vendor sends with each, compared in constant time.

Basic credentials (RFC 7617) are written `user:password`; anything else is a token, sent as a bearer token (RFC 6750)
or in the header `X-Webhook-Key`. Anyone who has the secret can claim anything, so it travels only over TLS.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from libs.errors import Unauthorized

HEADER = "x-webhook-key"
_MOST_GIVEN = 4_096


def verify(headers: Mapping[str, str], keys: Sequence[str]) -> None:
    """Check that one of the keys was sent. Compares every pair, by digests of one length. Raises Unauthorized."""
    given = [hashlib.sha256(secret).digest() for secret in _given(headers)]
    wanted = [hashlib.sha256(key.encode()).digest() for key in keys]
    matches = [hmac.compare_digest(one, other) for one in given for other in wanted]
    if not any(matches):
        raise Unauthorized(
            "The webhook has none of the sender's webhook_keys: set one as Basic credentials (user:password), as "
            "a bearer token or as the header X-Webhook-Key."
        )


def _given(headers: Mapping[str, str]) -> list[bytes]:
    kind, _, value = headers.get("authorization", "")[:_MOST_GIVEN].partition(" ")
    found = [token.encode("utf-8", "replace") for token in (headers.get(HEADER, "")[:_MOST_GIVEN],) if token]
    match kind.lower():
        case "basic":
            try:
                found.append(base64.b64decode(value.strip(), validate=True))
            except (binascii.Error, ValueError):
                return found
        case "bearer":
            found.append(value.strip().encode("utf-8", "replace"))
    return found
