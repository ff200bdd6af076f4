"""Reports about rules over HTTP, with an example each."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_FACT = "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a"
_DEAD: dict[str, Any] = {
    "rule": "apple-no-longer",
    "category": "unknown-user",
    "layer": "shipped",
    "last_at": "2026-11-02T07:12:00Z",
    "last_bounce": _FACT,
}
_WINNER = {"rule": "unknown-user-and-code", "count": 411}
_OUTDONE: dict[str, Any] = {
    "rule": "unknown-user-code",
    "count": 412,
    "last_at": "2027-03-01T08:59:00Z",
    "winners": [_WINNER],
}
_UNREAD: dict[str, Any] = {
    "template_id": "6f1c2a34-0b5e-4d77-9c1a-2b3c4d5e6f70",
    "template": "550 Mailbox of <address> was closed down for the winter",
    "provider": "gmail",
    "count": 1_320,
    "last_at": "2027-03-01T08:59:00Z",
    "bounce": _FACT,
    "text": "550 Mailbox of <address> was closed down for the winter",
    "vendor_category": "inactive",
    "model_category": None,
    "read_by": None,
}
_OPINION: dict[str, Any] = {
    "who": "ses",
    "other": "unknown-user",
    "category": "policy",
    "rule": "policy-words",
    "provider": "microsoft",
    "count": 87,
    "last_at": "2027-03-01T08:59:00Z",
    "bounce": _FACT,
    "text": "550 5.4.1 Recipient address rejected: Access denied",
    "said": "Permanent/NoEmail",
}
_HITS: dict[str, Any] = {
    "rule": "unknown-user-and-code",
    "decided": 8_112,
    "outdone": 3,
    "shadow": 0,
    "last_at": "2027-03-01T08:59:00Z",
    "last_bounce": _FACT,
    "days": [{"day": "2027-03-01", "decided": 8_112, "outdone": 3, "shadow": 0}],
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class DeadRule(BaseModel):
    """A rule in force that has not matched within the requested time."""

    model_config = _example(_DEAD)
    rule: str
    category: str
    layer: str
    last_at: AwareDatetime | None = Field(description="When it matched last; null: never.")
    last_bounce: UUID | None


class Winner(BaseModel):
    """The rule that decided instead, and how often."""

    model_config = _example(_WINNER)
    rule: str
    count: int


class OutdoneRule(BaseModel):
    """A rule that matched and never decided: another one always took precedence."""

    model_config = _example(_OUTDONE)
    rule: str
    count: int
    last_at: AwareDatetime
    winners: list[Winner]


class UnreadText(BaseModel):
    """Replies that no rule matched, one entry for all that differ only in names and numbers.

    `template`, `text` and other classifications are those of the newest one; null where it was erased.
    """

    model_config = _example(_UNREAD)
    template_id: UUID
    template: str | None
    provider: str | None
    count: int
    last_at: AwareDatetime
    bounce: UUID | None
    text: str | None
    vendor_category: str | None
    model_category: str | None
    read_by: str | None = Field(description="The rule in force that would match it today; null: still none.")


class Disagreement(BaseModel):
    """Replies that a vendor or the model classifies differently; `rule` null: no rule of ours decided."""

    model_config = _example(_OPINION)
    who: str
    other: str = Field(description="Their category.")
    category: str = Field(description="Ours.")
    rule: str | None
    provider: str | None
    count: int
    last_at: AwareDatetime
    bounce: UUID = Field(description="The newest such fact.")
    text: str | None
    said: str | None = Field(description="The vendor's own class.")


class Agreement(BaseModel):
    """How often somebody's opinion matched ours."""

    model_config = _example({"who": "ses", "facts": 1_204, "agreeing": 1_117, "share": 0.9277})
    who: str
    facts: int
    agreeing: int
    share: float


class Agreements(BaseModel):
    """By whom."""

    model_config = _example({"items": [{"who": "ses", "facts": 1_204, "agreeing": 1_117, "share": 0.9277}]})
    items: list[Agreement]


class HitsOfDay(BaseModel):
    """`decided`: it gave the category. `outdone`: it matched, another one decided. `shadow`: it is only watched."""

    model_config = _example(_HITS["days"][0])
    day: str
    decided: int
    outdone: int
    shadow: int


class RuleHits(BaseModel):
    """A rule's hits within a time, by day (UTC); days without a hit are left out."""

    model_config = _example(_HITS)
    rule: str
    decided: int
    outdone: int
    shadow: int
    last_at: AwareDatetime | None
    last_bounce: UUID | None
    days: list[HitsOfDay]


class SuggestionBody(BaseModel):
    """The meaning of the replies, if you know it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"category": "inactive", "provider": "gmail"}]}
    )
    category: str | None = Field(
        None, max_length=30, description="Default: what the vendor or the model made of it, else `undetermined`."
    )
    provider: str | None = Field(None, max_length=100, description="Default: the most frequent provider.")
