"""What reports about rules are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from libs.contracts.outcomes import Mode


class Realm(NamedTuple):
    """Whose facts a report is about. `tenant` None: all tenants', because rules are everybody's."""

    tenant: int | None
    mode: Mode


@dataclass(frozen=True, slots=True)
class UnreadQuery:
    """`after`: count, template and provider that the page before ended with."""

    realm: Realm
    since: date
    limit: int
    provider: str | None = None
    template: UUID | None = None
    after: tuple[int, UUID, str] | None = None


@dataclass(frozen=True, slots=True)
class OpinionQuery:
    """`who`: a vendor's name, or `model`. `after`: count, who, other, category, rule, provider of the page before."""

    realm: Realm
    since: date
    limit: int
    who: str | None = None
    after: tuple[Any, ...] | None = None


class Rollups(Protocol):
    """What figures and reports are made of, in time."""

    async def forget_before(self, hour: datetime, day: date) -> int:
        """Drops some of what is older; how many rows."""
        ...


class Reports(Protocol):
    """What rules do and do not; nothing here walks the facts."""

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
