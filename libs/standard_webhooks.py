"""Standard Webhooks (standardwebhooks.com): signing and verifying webhooks over the raw bytes.

The signed content is `id.timestamp.body`; the header holds space-separated `v1,<base64 of HMAC-SHA-256>`, one per
secret during rotation. Secrets are written `whsec_<base64>`.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence

from libs.errors import Unauthorized

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """Return a secret of 32 random bytes."""
    return _PREFIX + base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the key in `whsec_…` (24 to 64 bytes by the standard). Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook's secret must be whsec_ followed by base64") from error
    if len(key) < 16:
        raise ValueError("a webhook's secret must have at least 16 bytes")
    return key


def sign(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers, with the newest key's signature first."""
    content = f"{id_}.{timestamp}.".encode() + body
    signatures = " ".join(f"v1,{_mac(key, content)}" for key in keys)
    return {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Return the webhook's id. `headers` by lower-case names, `now` in Unix seconds. Raises Unauthorized."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not id_ or not given or not (timestamp.isascii() and timestamp.isdigit()):
        raise Unauthorized("The webhook is not signed: webhook-id, webhook-timestamp or webhook-signature is missing.")
    content = f"{id_}.{timestamp}.".encode() + body
    wanted = [_mac(key, content).encode() for key in keys]
    offered = [part[3:].encode() for part in given.split(" ") if part.startswith("v1,")]
    # every pair is compared, so that the time taken reveals nothing
    matches = [hmac.compare_digest(one, other) for one in wanted for other in offered[:10]]
    if not any(matches):
        raise Unauthorized("The webhook's signature is wrong: check the secret, and that the body is sent unchanged.")
    if len(timestamp) > 12 or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Unauthorized("The webhook's timestamp is more than five minutes off: check the clock and sign again.")
    return id_


def _mac(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
