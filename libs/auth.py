"""Who may call: every route declares exactly one guard, and a test lists them.

scope("events:send")      an API key of a tenant and mode, verified against `access`, cached for 5 s
scope(…, internal=True)   the same, or another service of the suite
internal()                a 60-second HMAC token with service, tenant and mode
signature("shopify")      the route verifies a provider's signature over the raw bytes
signed_link("…")          the route verifies a link that we signed
public()                  health and documentation
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from libs.contracts.outcomes import Mode
from libs.errors import Forbidden, Unauthorized
from libs.ids import OPERATOR

SCOPES: dict[str, str] = {
    "admin": "Everything within its tenant and mode, and managing tenants.",
    "events:send": "Send events.",
    "events:read": "Read events and the decisions about them.",
    "sources:read": "Read sources and event types.",
    "sources:write": "Create and change sources and event types; replay stored events.",
    "communications:read": "Read communications and releases.",
    "communications:write": "Create and change drafts of communications.",
    "communications:publish": "Publish and retire communications.",
    "templates:read": "Read and preview templates.",
    "templates:write": "Create and change drafts of templates.",
    "templates:publish": "Publish templates.",
    "recipients:read": "Read recipients, with addresses masked.",
    "recipients:write": "Create, change, import and erase recipients, devices and consent.",
    "delivery:read": "Read senders, holds, messages and figures.",
    "delivery:operate": "Place and lift holds, cancel, change senders.",
    "bounces:read": "Read bounces and suppressions.",
    "bounces:write": "Submit bounce mails; place and lift suppressions.",
    "rules:write": "Create, change and retire bounce rules. Only for live keys of the operating tenant.",
    "rules:publish": "Publish and roll back bounce rules. Only for live keys of the operating tenant.",
    "history:read": "Read timelines and explanations.",
    "dead-letters:read": "Read events that a service failed to process.",
    "dead-letters:write": "Replay and discard dead letters.",
    "pii:read": "See addresses and names unmasked; needs another read scope too.",
    "topics:read": "Read topics and the tenant.",
    "topics:write": "Create and change topics.",
    "keys:admin": "Create and revoke API keys.",
    "tenants:admin": "Create and change tenants.",
    "metrics:read": "Read metrics and the suite's state.",
}

_TOKEN_SECONDS = 60
_CACHE_SECONDS = 5.0
_CACHE_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, with its tenant and mode. `actor` is a key's id, or `service:<app id>`."""

    tenant: int
    mode: Mode
    actor: str
    scopes: frozenset[str] = frozenset()

    @property
    def operates(self) -> bool:
        """Whether it may operate the whole installation, as far as its scopes allow: see docs/adr/0070."""
        return self.tenant == OPERATOR and self.mode is Mode.LIVE

    def may(self, wanted: str) -> bool:
        return wanted in self.scopes or "admin" in self.scopes


class InternalTokens:
    """Make and verify the tokens that services present to one another: `service:tenant:mode:expiry` and its MAC."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def make(self, service: str, tenant: int, mode: Mode) -> str:
        body = f"{service}:{tenant}:{int(mode)}:{int(self._clock()) + _TOKEN_SECONDS}"
        mac = hmac.digest(self._key, body.encode(), "sha256")
        return base64.urlsafe_b64encode(mac + body.encode()).decode()

    def read(self, token: str) -> Principal:
        """Return the caller. Raises Unauthorized."""
        try:
            raw = base64.urlsafe_b64decode(token)
            mac, body = raw[:32], raw[32:]
            service, tenant, mode, expiry = body.decode().split(":")
        except ValueError as error:
            raise Unauthorized("The internal token cannot be read.") from error
        if not hmac.compare_digest(mac, hmac.digest(self._key, body, "sha256")):
            raise Unauthorized("The internal token is not signed with this suite's secret.")
        if int(expiry) < self._clock():
            raise Unauthorized("The internal token has expired; check that the clocks agree.")
        return Principal(int(tenant), Mode(int(mode)), f"service:{service}")


Verify = Callable[[str], Awaitable[Principal]]


@dataclass(slots=True)
class KeyVerifier:
    """Verify API keys against `access` and cache the answer for five seconds; a revoked key works no longer."""

    ask: Verify
    _known: dict[bytes, tuple[float, Principal]] = field(default_factory=dict)

    async def verify(self, key: str) -> Principal:
        """Return the key's principal. Raises Unauthorized."""
        digest = hashlib.sha256(key.encode()).digest()
        now = time.monotonic()
        known = self._known.get(digest)
        if known and known[0] > now:
            return known[1]
        principal = await self.ask(key)
        if len(self._known) >= _CACHE_ENTRIES:
            self._known.clear()
        self._known[digest] = (now + _CACHE_SECONDS, principal)
        return principal


class Guard:
    """Base of all guards; the test that lists guards reads `kind` and `what`."""

    kind = ""

    def __init__(self, what: str) -> None:
        self.what = what


class ScopeGuard(SecurityBase, Guard):
    """An API key with the scope, or, if `internal` is set, another service of the suite."""

    kind = "scope"

    def __init__(self, what: str, *, internal: bool) -> None:
        if what not in SCOPES:
            raise ValueError(f"{what!r} is not in libs.auth.SCOPES")
        Guard.__init__(self, what)
        self.internal = internal
        self.model = HTTPBearerModel(description="An API key: `Authorization: Bearer dp_live_…`")
        self.scheme_name = "ApiKey"

    async def __call__(self, request: Request) -> Principal:
        kind, _, credential = request.headers.get("authorization", "").partition(" ")
        if self.internal and kind == "Internal":
            return _tokens(request).read(credential)
        if kind.lower() != "bearer" or not credential.strip():
            raise Unauthorized("No API key. Send `Authorization: Bearer <key>`; `depesche keys create` creates one.")
        verifier: KeyVerifier = request.app.state.runtime.keys
        principal = await verifier.verify(credential.strip())
        if not principal.may(self.what):
            raise Forbidden(f"This key lacks the scope {self.what}. Use a key that has it.", scope=self.what)
        return principal


class InternalGuard(Guard):
    """Another service of the suite."""

    kind = "internal"

    async def __call__(self, request: Request) -> Principal:
        kind, _, credential = request.headers.get("authorization", "").partition(" ")
        if kind != "Internal":
            raise Unauthorized("This route is only for the suite's own services.")
        return _tokens(request).read(credential)


class SignatureGuard(Guard):
    """Declares that the route itself verifies a provider's signature over the raw bytes."""

    kind = "signature"

    async def __call__(self) -> None:
        return None


class LinkGuard(SignatureGuard):
    """Declares that the route itself verifies a link that we signed."""

    kind = "signed link"


class PublicGuard(SignatureGuard):
    """Open to everyone: health and documentation."""

    kind = "public"


def _tokens(request: Request) -> InternalTokens:
    tokens: InternalTokens = request.app.state.runtime.tokens
    return tokens


def scope(name: str, *, internal: bool = False) -> Any:
    """Guard: an API key with this scope (`admin` has every scope)."""
    return Depends(ScopeGuard(name, internal=internal))


def internal() -> Any:
    """Guard: another service of the suite."""
    return Depends(InternalGuard("suite"))


def signature(provider: str) -> Any:
    """Guard: the handler verifies this provider's signature."""
    return Depends(SignatureGuard(provider))


def signed_link(purpose: str) -> Any:
    """Guard: the handler verifies the link."""
    return Depends(LinkGuard(purpose))


def public() -> Any:
    """Guard: none, deliberately."""
    return Depends(PublicGuard("everybody"))
