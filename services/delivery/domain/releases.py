"""A release as the sender needs it: the plan, the policies, and texts that are compiled once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from libs.contracts.outcomes import Channel, Mode
from libs.rendering import Rendered


class Texts(Protocol):
    """One template of a release, compiled. Raises RenderFailed if the data does not make a message."""

    @property
    def needs_links(self) -> bool: ...

    def render(self, locale: str | None, variables: Mapping[str, Any]) -> Rendered: ...


@dataclass(frozen=True, slots=True)
class PlannedChannel:
    """One channel of a plan's step. Sender 0: the tenant's first on that channel."""

    channel: Channel
    texts: Texts
    sender: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the plan: all of its channels, or the first usable one."""

    all: bool
    channels: Sequence[PlannedChannel]


@dataclass(frozen=True, slots=True)
class Release:
    """One published release, ready to send."""

    id: UUID
    tenant: int
    mode: Mode
    communication: str
    version: int
    marketing: bool
    topic: str | None
    obeys_quiet_hours: bool
    default_locale: str
    plan: Sequence[Step]
    channels: tuple[str, ...]  # words of all channels of the plan, for the query to `tokens`
    default_zone: str | None = None  # the tenant's; None: published before releases had it


class Unusable(NamedTuple):
    """A release that is unavailable for now."""

    detail: str
