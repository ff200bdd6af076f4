"""The data of reports about rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from libs.contracts.outcomes import Mode


class Realm(NamedTuple):
    """Whose facts a report is about. `tenant` None: all tenants', because rules apply to all."""

    tenant: int | None
    mode: Mode


@dataclass(frozen=True, slots=True)
class UnreadQuery:
    """`after`: count, template and provider at which the previous page ended."""

    realm: Realm
    since: date
    limit: int
    provider: str | None = None
    template: UUID | None = None
    after: tuple[int, UUID, str] | None = None


@dataclass(frozen=True, slots=True)
class OpinionQuery:
    """`who`: a vendor's name, or `model`. `after`: last count, who, other, category, rule, provider of the page."""

    realm: Realm
    since: date
    limit: int
    who: str | None = None
    after: tuple[Any, ...] | None = None


class Rollups(Protocol):
    """The roll-ups behind figures and reports."""

    async def forget_before(self, hour: datetime, day: date) -> int:
        """Delete a batch of older rows; return how many."""
        ...


class Reports(Protocol):
    """What rules do and do not; no query here scans the facts."""

    async def hits_by_day(self, realm: Realm, rule: str, since: date) -> list[Mapping[str, Any]]: ...

    async def hits(
        self, realm: Realm, since: date, rules: Sequence[str] | None = None
    ) -> Mapping[str, Mapping[str, Any]]: ...

    async def last_hits(self, realm: Realm, rules: Sequence[str]) -> Mapping[str, Mapping[str, Any]]: ...

    async def outdone(
        self, realm: Realm, since: date, limit: int, after: tuple[int, str] | None
    ) -> list[Mapping[str, Any]]: ...

    async def unread(self, wanted: UnreadQuery) -> list[Mapping[str, Any]]: ...

    async def opinions(self, wanted: OpinionQuery) -> list[Mapping[str, Any]]: ...

    async def agreeing(self, realm: Realm, since: date) -> list[Mapping[str, Any]]: ...
