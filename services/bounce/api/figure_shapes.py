"""Figures and the breaker over HTTP, with an example each."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_BREAKER = {
    "id": "0193c8a4-5d10-7c11-9a5e-7f0d1c2b3a49",
    "provider": "gmail",
    "state": "open",
    "doubtful_from": "2027-03-01T08:41:00Z",
    "opened_at": "2027-03-01T09:02:10Z",
    "closed_at": None,
    "refused": 214,
    "expected": 3.2,
    "parked": 188,
    "confirmed": 0,
    "released": 0,
    "dropped": 12,
    "expired": 0,
}
_COUNTS = {
    "facts": 1240,
    "first": 1102,
    "repeated": 138,
    "suppressed": 811,
    "lifted": 3,
    "parked": 0,
    "undetermined": 12,
}
_ROW = {
    "bucket": "2027-03-01T00:00:00Z",
    "category": "unknown-user",
    "provider": "gmail",
    "from_domain": None,
    "communication": None,
    **_COUNTS,
}
_HEALTH = {
    "sender": 1,
    "about": "198.51.100.23",
    "provider": "microsoft",
    "category": "reputation-block",
    "count": 412,
    "last_at": "2027-03-01T09:00:00Z",
    "last_bounce": "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a",
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class Counted(BaseModel):
    """`first`: facts about addresses without earlier facts; `repeated`: all others. Suppressions: begun, ended, parked.
    `undetermined`: facts that no rule could classify."""

    model_config = _example(_COUNTS)
    facts: int
    first: int
    repeated: int
    suppressed: int
    lifted: int
    parked: int
    undetermined: int


class FigureRow(Counted):
    """One bucket of time and one value of each requested dimension; the others are null."""

    model_config = _example(_ROW)
    bucket: AwareDatetime | None = Field(description="Start of the hour or day, UTC; null without a grain.")
    category: str | None
    provider: str | None = Field(description="Empty: a provider that we have no name for.")
    from_domain: str | None
    communication: str | None


class BreakerShown(BaseModel):
    """A time in which a provider's `no such user` was not believed: `open`, `closed`, or `believed` by an operator."""

    model_config = _example(_BREAKER)
    id: UUID
    provider: str
    state: str
    doubtful_from: AwareDatetime = Field(description="Facts count as doubtful from here on; earlier than it opened.")
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None
    refused: int = Field(description="`unknown-user` within the window that opened it.")
    expected: float = Field(description="The usual number in such a window.")
    parked: int = Field(description="Your addresses that wait for further evidence.")
    confirmed: int = Field(description="Confirmed by the provider later, and barred.")
    released: int = Field(description="Barred by an operator.")
    dropped: int = Field(description="Dropped by an operator, or after a sign of life.")
    expired: int = Field(description="Dropped because nothing further arrived.")


class Statistics(BaseModel):
    """Figures over a span of time, and the breakers that were open in it."""

    model_config = _example(
        {
            "grain": "day",
            "since": "2027-03-01T00:00:00Z",
            "until": "2027-03-02T00:00:00Z",
            "totals": _COUNTS,
            "undetermined_share": 0.0097,
            "rows": [_ROW],
            "breakers": [_BREAKER],
        }
    )  # fmt: skip
    grain: str
    since: AwareDatetime
    until: AwareDatetime
    totals: Counted
    undetermined_share: float = Field(description="The share of facts that no rule could classify; 0 to 1.")
    rows: list[FigureRow]
    breakers: list[BreakerShown]


class HealthRow(BaseModel):
    """Blocks: refusals that concern us, not an address."""

    model_config = _example(_HEALTH)
    sender: int
    about: str = Field(description="Our IP address named in the refusal, else the mail's From domain.")
    provider: str
    category: str
    count: int
    last_at: AwareDatetime
    last_bounce: UUID = Field(description="The newest such fact.")


class Reputation(BaseModel):
    """What providers think of our senders."""

    model_config = _example({"items": [_HEALTH]})
    items: list[HealthRow]
