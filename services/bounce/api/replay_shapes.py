"""Replays over HTTP, with an example each."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_BODY: dict[str, Any] = {
    "since": "2027-02-01T00:00:00Z",
    "until": "2027-03-01T00:00:00Z",
    "rules": "working",
    "settings": {"score_days": 2},
    "note": "before the new rules of Gmail go live",
}
_SUMS = {"rule_set": "06d92e47bf4006eb", "barred_all": 8_211, "barred_marketing": 402, "parked": 0}
_COUNT = {"category": "unknown-user", "provider": "gmail", "count": 1_204}
_CATEGORY = {"category": "unknown-user", "provider": "gmail", "before": 9_120, "after": 7_916}
_READ = {"category": "unknown-user", "rule": "unknown-user-words"}
_MOVE: dict[str, Any] = {
    "provider": "gmail",
    "was": _READ,
    "becomes": {"category": "policy", "rule": "gmail-closed-lists"},
    "count": 1_204,
    "bounce": "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a",
}
CHANGE: dict[str, Any] = {
    "number": 1,
    "appears": False,
    "scope": "all",
    "address_hash": "b0c1…",
    "recipient": "customer:1042",
    "bounce": "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a",
    "at": "2027-02-11T09:00:00Z",
    "provider": "gmail",
    "text": "550 5.1.1 The list that you tried to reach is closed",
    "was": _READ | {"policy": "trusted-provider"},
    "becomes": {"category": "policy", "rule": "gmail-closed-lists", "policy": None},
}
_RESULT: dict[str, Any] = {
    "facts": 61_020,
    "addresses": 58_411,
    "before": _SUMS,
    "after": _SUMS | {"rule_set": "9f1c2a340b5e4d77", "barred_all": 7_007},
    "appear": 0,
    "vanish": 1_204,
    "kept": 1_204,
    "appearing": [],
    "vanishing": [_COUNT],
    "categories": [_CATEGORY],
    "moves": [_MOVE],
}
REPLAY: dict[str, Any] = {
    "id": "0193c8a4-6e33-7b20-8d5f-3a2b1c0d9e8f",
    "state": "done",
    "asked": _BODY,
    "actor": "key_7",
    "created_at": "2027-03-01T09:00:00Z",
    "started_at": "2027-03-01T09:00:01Z",
    "ended_at": "2027-03-01T09:00:19Z",
    "facts_done": 74_100,
    "facts_total": 74_100,
    "result": _RESULT,
    "problem": None,
}


def _example(value: dict[str, Any], *, extra: Literal["forbid", "ignore"] = "ignore") -> ConfigDict:
    return ConfigDict(extra=extra, json_schema_extra={"examples": [value]})


class PolicyNumbers(BaseModel):
    """Settings of `bounce` to try, by name and in their units; the others keep their current values."""

    model_config = _example({"score_days": 2, "trusted_providers": ["gmail", "yahoo"]}, extra="forbid")
    trusted_providers: Annotated[list[str], Field(max_length=200)] | None = None
    second_proof_hours: Annotated[float, Field(gt=0)] | None = None
    proofs_days: Annotated[int, Field(ge=1, le=400)] | None = None
    delivered_after_hours: Annotated[float, Field(ge=0)] | None = None
    recent_delivery_days: Annotated[int, Field(ge=0, le=60)] | None = None
    recent_reading_days: Annotated[int, Field(ge=0)] | None = None
    score_days: Annotated[int, Field(ge=1)] | None = None
    score_within_days: Annotated[int, Field(ge=1)] | None = None


class ReplayBody(BaseModel):
    """What to replay. `rules`: those `in-force`, those people are `working` on (in shadow and live, as in the next rule
    set), or a rule set by its number."""

    model_config = _example(_BODY, extra="forbid")
    since: AwareDatetime = Field(description="Facts from here on decide; older ones count as known.")
    until: AwareDatetime | None = Field(None, description="Default: now.")
    rules: Literal["in-force", "working"] | Annotated[int, Field(ge=0, le=2_147_483_647)] = "in-force"
    settings: PolicyNumbers = Field(default_factory=PolicyNumbers)
    note: str | None = Field(None, max_length=500)


class ReplayAsked(BaseModel):
    """The requested replay."""

    model_config = _example(_BODY)
    since: AwareDatetime
    until: AwareDatetime
    rules: str
    settings: dict[str, Any]
    note: str | None


class SideShown(BaseModel):
    """The result of one side: addresses barred by scope, and those parked by a breaker."""

    model_config = _example(_SUMS)
    rule_set: str
    barred_all: int
    barred_marketing: int
    parked: int


class CountShown(BaseModel):
    """Suppressions by the category and provider of the fact that makes the difference."""

    model_config = _example(_COUNT)
    category: str
    provider: str
    count: int


class CategoryShown(BaseModel):
    """Facts of a category and provider, by the rules in force and by the rules tried."""

    model_config = _example(_CATEGORY)
    category: str
    provider: str
    before: int
    after: int


class ReadShown(BaseModel):
    """A fact's classification; `rule` null: no rule matched."""

    model_config = _example(_READ)
    category: str
    rule: str | None


class MoveShown(BaseModel):
    """Facts that would be classified differently, the most frequent kinds; `bounce` is one of them."""

    model_config = _example(_MOVE)
    provider: str
    was: ReadShown
    becomes: ReadShown
    count: int
    bounce: UUID


class ReplayResult(BaseModel):
    """What would change. `before`: by the rules and settings in force."""

    model_config = _example(_RESULT)
    facts: int
    addresses: int
    before: SideShown
    after: SideShown
    appear: int = Field(description="Suppressions that would exist and currently do not.")
    vanish: int = Field(description="Suppressions that would not exist and currently do.")
    kept: int = Field(description="Those of both that GET changes lists; at most 200,000.")
    appearing: list[CountShown]
    vanishing: list[CountShown]
    categories: list[CategoryShown]
    moves: list[MoveShown]


class ReplayShown(BaseModel):
    """A replay: `waiting`, `running`, `done`, `cancelled` or `failed` (then `problem` says why)."""

    model_config = _example(REPLAY)
    id: UUID
    state: str
    asked: ReplayAsked
    actor: str
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    facts_done: int
    facts_total: int | None = Field(description="Includes older facts that must be known; null: not begun.")
    result: ReplayResult | None
    problem: str | None


class ReadAndDecided(ReadShown):
    """`policy`: the policy's rule by which it bars; null: it does not bar."""

    policy: str | None


class ChangeShown(BaseModel):
    """An address that would be barred (`appears`), or no longer, and the fact that makes the difference.

    `was` and `becomes`: that fact by what is in force and by what is tried. Null where the recipient was erased.
    """

    model_config = _example(CHANGE)
    number: int
    appears: bool
    scope: str
    address_hash: str
    recipient: str | None
    bounce: UUID
    at: AwareDatetime | None
    provider: str | None
    text: str | None
    was: ReadAndDecided
    becomes: ReadAndDecided
