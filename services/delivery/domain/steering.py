"""What steers the sender from outside: suppressions, releases, holds, senders."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.outcomes import Channel, Mode

SIMULATOR = "simulator"  # kinds of a sender's account
PROVIDER = "provider"


class Suppression(NamedTuple):
    """A suppression as `bounce` publishes it."""

    tenant: int
    mode: int
    address_hash: bytes
    scope: int
    reason: int
    version: int
    active: bool


class KnownRelease(NamedTuple):
    """A release that exists, or was retired."""

    id: UUID
    tenant: int
    mode: int
    communication: str
    version: int
    digest: str
    active: bool


class HoldKind(Enum):
    """What a hold stops."""

    CAUSE = "cause"
    RELEASE = "release"
    SENDER = "sender"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold, active or lifted."""

    tenant: int
    mode: Mode
    kind: HoldKind
    target: str
    version: int
    active: bool
    note: str | None
    actor: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SenderSetup:
    """A sender as an operator configures it. `secrets` never leave the service."""

    tenant: int
    mode: Mode
    number: int
    name: str
    channel: Channel
    kind: str  # SIMULATOR or PROVIDER
    account: dict[str, Any]
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)
    rate: float | None = None
    burst: float | None = None
    version: int = 1
    changed_at: datetime | None = None
