"""What reports about rules are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.outcomes import Mode


@dataclass(frozen=True, slots=True)
class UnreadQuery:
    """`after`: count, template and provider that the page before ended with."""

    realm: tuple[int, Mode]
    since: date
    limit: int
    provider: str | None = None
    template: UUID | None = None
    after: tuple[int, UUID, str] | None = None


@dataclass(frozen=True, slots=True)
class OpinionQuery:
    """`who`: a vendor's name, or `model`. `after`: count, who, other, category, rule, provider of the page before."""

    realm: tuple[int, Mode]
    since: date
    limit: int
    who: str | None = None
    after: tuple[Any, ...] | None = None


class Reports(Protocol):
    """What rules do and do not; nothing here walks the facts."""

    async def hits_by_day(self, realm: tuple[int, Mode], rule: str, since: date) -> list[Mapping[str, Any]]: ...

    async def hits(
        self, realm: tuple[int, Mode], since: date, rules: Sequence[str] | None = None
    ) -> Mapping[str, Mapping[str, Any]]: ...

    async def last_hits(self, realm: tuple[int, Mode], rules: Sequence[str]) -> Mapping[str, Mapping[str, Any]]: ...

    async def outdone(
        self, realm: tuple[int, Mode], since: date, limit: int, after: tuple[int, str] | None
    ) -> list[Mapping[str, Any]]: ...

    async def unread(self, wanted: UnreadQuery) -> list[Mapping[str, Any]]: ...

    async def opinions(self, wanted: OpinionQuery) -> list[Mapping[str, Any]]: ...

    async def agreeing(self, realm: tuple[int, Mode], since: date) -> list[Mapping[str, Any]]: ...
