"""Tenants, topics and API keys: their shapes and rules. Pure; time and randomness are parameters.

A key is `dp_<mode>_<id>_<secret>`. The id (80 bits, base32) is public: lists, logs and the audit name it. The secret
(256 bits) is shown once and stored as its SHA-256. A slow, salted hash protects secrets that people choose and others
can guess. One of 2²⁵⁶ equally likely secrets cannot be guessed, and a slow hash would cost time at every
verification.
"""

import base64
import hashlib
import hmac
import re
import zoneinfo
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from libs.contracts.outcomes import Mode, Word
from libs.ids import TenantId

ADMIN = "admin"
MAX_TENANTS = 32_767  # the number is a smallint in every ledger row
LAST_YEAR = 2200
ID_BYTES = 10
SECRET_BYTES = 32
NEVER = datetime.fromtimestamp(0, UTC)  # for objects that are not stored yet
COARSE = timedelta(hours=1)  # last use is written at most this often, so that a verification costs no write

_KEY = re.compile(r"dp_(live|test)_([a-z2-7]{16})_([a-z2-7]{52})")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{4})?(?:[-_](?:[A-Za-z]{2}|[0-9]{3}))?")


class Category(Word):
    """What consent depends on: marketing needs a recorded yes, transactional needs none."""

    TRANSACTIONAL = 1
    MARKETING = 2


@dataclass(frozen=True, slots=True)
class Tenant:
    """A business unit or brand."""

    number: TenantId
    name: str
    default_locale: str
    zone: str
    version: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Topic:
    """What customers subscribe to, of one tenant and mode."""

    name: str
    category: Category
    description: str
    active: bool
    version: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as stored: everything but the secret."""

    id: str
    tenant: TenantId
    mode: Mode
    name: str
    scopes: tuple[str, ...]
    secret_hash: bytes
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class KeyText:
    """The two halves of a key's text."""

    id: str
    secret: str
    mode: Mode

    def __str__(self) -> str:
        return f"dp_{self.mode.word}_{self.id}_{self.secret}"


def key_text(mode: Mode, id_bytes: bytes, secret_bytes: bytes) -> KeyText:
    """Build a key from random bytes (ID_BYTES and SECRET_BYTES)."""
    return KeyText(_base32(id_bytes), _base32(secret_bytes), mode)


def parse_key(text: str) -> KeyText | None:
    """Return the halves of a key's text, or None if it is not one of ours."""
    match = _KEY.fullmatch(text)
    return KeyText(match[2], match[3], Mode[match[1].upper()]) if match else None


def secret_hash(secret: str) -> bytes:
    """Return the stored hash of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def refusal(key: ApiKey | None, text: KeyText, now: datetime) -> str | None:
    """Return why a presented key is not valid, in a sentence, or None if it is.

    Only the holder of the secret learns that a key was revoked or has expired."""
    stored = key.secret_hash if key else bytes(32)  # compared anyway, so that an unknown id takes as long
    if not hmac.compare_digest(stored, secret_hash(text.secret)) or key is None or key.mode != text.mode:
        return "This API key is unknown. Check that it is complete and belongs to this installation."
    match state_of(key, now):
        case "revoked":
            return f"The API key {key.id} was revoked; ask an administrator for a new one."
        case "expired":
            return f"The API key {key.id} has expired; ask an administrator for a new one."
    return None


def state_of(key: ApiKey, now: datetime) -> str:
    """Return `active`, `expired` or `revoked`."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "active"


def used_at(key: ApiKey, now: datetime) -> datetime | None:
    """Return the coarse time of use to store, or None if the last one is recent enough."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    return hour if key.last_used_at is None or key.last_used_at <= now - COARSE else None


def beyond(held: Collection[str], wanted: Collection[str]) -> list[str]:
    """Return the scopes that a holder of `held` cannot grant: nobody grants more than they have."""
    return [] if ADMIN in held else sorted(set(wanted) - set(held))


def locale(text: str) -> str:
    """Return a BCP 47 tag of language, script and region in its usual case (`de_at` → `de-AT`). Raises ValueError."""
    if not _LOCALE.fullmatch(text):
        raise ValueError(f"{text!r} is not a locale; write a language and, if needed, a region: de, de-AT, zh-Hant-TW")
    language, *rest = re.split(r"[-_]", text)
    return "-".join([language.lower(), *(part.title() if len(part) == 4 else part.upper() for part in rest)])


def zone(name: str) -> str:
    """Return an IANA time zone by its name in the tz database. Raises ValueError."""
    if name not in _zones():
        raise ValueError(f"{name!r} is not a time zone of the tz database; use a name like Europe/Berlin or UTC")
    return name


def expiry(at: datetime) -> datetime:
    """Return a key's expiry in UTC. Raises ValueError. Later years would overflow when a key is rotated."""
    if not 2000 <= at.year <= LAST_YEAR:
        raise ValueError(f"the expiry must be between the years 2000 and {LAST_YEAR}")
    return at.astimezone(UTC)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").lower().decode()
