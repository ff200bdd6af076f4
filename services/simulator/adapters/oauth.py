"""Google's token endpoint for a service account (RFC 7523), and the bearer tokens that FCM then accepts."""

import base64
import binascii
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from services.simulator.adapters.certificates import ACCOUNT
from services.simulator.adapters.rsgi import JSON_HEADERS
from services.simulator.ports import HttpProtocol, Scope

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPES = {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
_LIFETIME_SECONDS = 3599
_MOST_BEARERS = 10_000


class NotGranted(Exception):
    """Why no token is issued: RFC 6749's error code, and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass
class TokenEndpoint:
    """`POST /token`. Unless strict, FCM accepts any bearer token but `expired…`: bench and tests need no login."""

    key: rsa.RSAPublicKey
    strict: bool = False
    _issued: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)

    def knows(self, authorization: str | None) -> bool:
        """Whether FCM accepts this Authorization header."""
        if authorization in self._issued:
            return True
        if self.strict or authorization is None or not authorization.startswith("Bearer "):
            return False
        token = authorization[7:].strip()
        if not token or token.startswith("expired"):
            return False
        if len(self._issued) < _MOST_BEARERS:
            self._issued.add(authorization)
        return True

    def answer(self, scope: Scope, protocol: HttpProtocol, body: bytes) -> None:
        """Answer a request that is not a send: a token, or 404."""
        if scope.path != "/token" or scope.method != "POST":
            protocol.response_str(
                404, [("content-type", "text/html; charset=UTF-8")], "<title>Error 404 (Not Found)</title>"
            )
            return
        try:
            self._check(body)
        except NotGranted as error:
            document = {"error": error.code, "error_description": error.text}
            protocol.response_bytes(400, JSON_HEADERS, msgspec.json.encode(document))
            return
        token = f"simulator.{secrets.token_urlsafe(32)}"
        self._issued.add(f"Bearer {token}")
        granted = {"access_token": token, "expires_in": _LIFETIME_SECONDS, "token_type": "Bearer"}
        protocol.response_bytes(200, JSON_HEADERS, msgspec.json.encode(granted))

    def _check(self, body: bytes) -> None:
        form = parse_qs(body.decode("latin-1"))
        if form.get("grant_type") != [_GRANT]:
            raise NotGranted("unsupported_grant_type", f"grant_type must be {_GRANT}")
        head, _, signature = form.get("assertion", [""])[0].rpartition(".")
        try:
            self.key.verify(_decoded(signature), head.encode(), padding.PKCS1v15(), SHA256())
            claims: dict[str, Any] = msgspec.json.decode(_decoded(head.partition(".")[2]), type=dict[str, Any])
        except (InvalidSignature, ValueError, binascii.Error) as error:
            raise NotGranted("invalid_grant", "Invalid JWT Signature.") from error
        if claims.get("iss") != ACCOUNT:
            raise NotGranted("invalid_grant", "Invalid grant: account not found")
        if not _SCOPES & set(str(claims.get("scope", "")).split()):
            raise NotGranted("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        expiry, now = claims.get("exp"), time.time()
        if not isinstance(expiry, int | float) or not now < expiry <= now + 3660:
            raise NotGranted(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            )


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
