"""Bounce's requests and responses, with an example each."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Kind = Literal["email", "phone", "fcm_token", "fid", "webhook"]
Note = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
_MAIL = {
    "id": "0193c8a4-2f11-7d52-9b0e-0d6a3c6f1b2a",
    "state": "read",
    "outcome": "unknown-user",
    "message": "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17",
    "received_at": "2027-03-01T09:00:00Z",
}
BOUNCE: dict[str, Any] = {
    "id": "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a",
    "at": "2027-03-01T09:00:00Z",
    "category": "unknown-user",
    "group": "hard",
    "action": "suppress",
    "permanent": True,
    "origin": "mail",
    "recipient": "customer:1042",
    "message": "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17",
    "attempt": 1,
    "reply_code": 550,
    "enhanced_code": "5.1.1",
    "text": "550 5.1.1 <address>: Recipient address rejected: User unknown",
    "mail": "0193c8a4-2f11-7d52-9b0e-0d6a3c6f1b2a",
    "provider": "gmail",
    "rule": "unknown-user-and-code",
    "matched": ["unknown-user-and-code", "unknown-user-words", "unknown-user-code"],
    "shadow": None,
    "confidence": 0.95,
    "template": "550 5.1.1 <address>: Recipient address rejected: User unknown",
    "rule_set": "06d92e47bf4006eb",
    "from_domain": "shop.example",
    "communication": "order-confirmed",
    "decision": "bars",
    "policy": "trusted-provider",
    "doubtful": False,
    "void": False,
    "stage": "rcpt",
    "vendor": "ses",
    "vendor_class": "Permanent/NoEmail",
    "vendor_category": "unknown-user",
    "model_category": None,
    "model_confidence": None,
}
_SUPPRESSION = {
    "id": "0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d",
    "scope": "all",
    "reason": "suppressed_bounce",
    "sentence": "The address is suppressed: mail to it bounced permanently.",
    "active": True,
    "version": 1,
    "changed_at": "2027-03-01T09:00:00Z",
    "actor": "system",
    "recipient": "customer:1042",
    "message": "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17",
    "bounce": "5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a",
    "note": None,
    "category": "unknown-user",
    "provider": "gmail",
    "rule": None,
    "rule_set": "shipped",
    "policy": "trusted-provider",
    "proofs": ["5c7d0c1e-6a3f-5b52-8f0e-1f2e3d4c5b6a"],
}


def _example(value: dict[str, Any], *, extra: Literal["forbid", "ignore"] = "ignore") -> ConfigDict:
    return ConfigDict(extra=extra, json_schema_extra={"examples": [value]})


class MailShown(BaseModel):
    """A submitted mail: `waiting`, `read` (outcome: the category, or why there is none) or `backscatter`."""

    model_config = _example(_MAIL)
    id: UUID
    state: str
    outcome: str | None
    message: str | None
    received_at: AwareDatetime


class BounceShown(BaseModel):
    """A fact about an address."""

    model_config = _example(BOUNCE)
    id: UUID
    at: AwareDatetime
    category: str
    group: str
    action: str
    permanent: bool
    origin: str
    recipient: str | None
    message: str | None
    attempt: int | None
    reply_code: int | None
    enhanced_code: str | None
    text: str | None
    mail: UUID | None
    rule: str | None = Field(description="The rule that decided; null if the report's form did, the model, or nothing.")
    matched: list[str] | None = Field(description="Every rule that matched, the deciding one first.")
    shadow: list[str] | None = Field(description="Rules in shadow that matched too; they do not count.")
    confidence: float | None = Field(
        description="Confidence from 0 to 1: for a rule a rank, for the model a probability."
    )
    provider: str | None = Field(description="The replying provider, by the refusing host or the address's domain.")
    template: str | None = Field(description="The text without its variable parts.")
    rule_set: str | None = Field(
        description="The digest of the rules that were applied; `model:` and its digest if the model answered."
    )
    from_domain: str
    communication: str
    decision: str = Field(description="leaves, waits, asks (the DNS), bars, or parked while its provider is doubted.")
    policy: str = Field(description="The policy's rule that decided.")
    doubtful: bool = Field(description="Received while its provider's breaker was open, or shortly before.")
    void: bool = Field(description="Undone: it does not count as proof.")
    stage: str | None = Field(description="The SMTP command that was answered, if the report names it.")
    vendor: str | None = Field(description="The mail vendor that reported it, with an opinion of its own.")
    vendor_class: str | None = Field(description="The vendor's own class of the bounce.")
    vendor_category: str | None = Field(description="The category of the vendor's class, if there is exactly one.")
    model_category: str | None = Field(description="The model's category; null if it was not used.")
    model_confidence: float | None


class SuppressionShown(BaseModel):
    """What is barred, since when and why. The address itself is not stored, only its hash."""

    model_config = _example(_SUPPRESSION)
    id: UUID
    scope: str
    reason: str
    sentence: str
    active: bool
    version: int
    changed_at: AwareDatetime
    actor: str
    recipient: str | None
    message: str | None
    bounce: UUID | None
    note: str | None
    category: str | None = Field(description="The category of the fact that placed it; null if a person did.")
    provider: str | None
    rule: str | None = Field(description="The rule that gave the category.")
    rule_set: str | None
    policy: str | None = Field(description="The policy's rule that decided.")
    proofs: list[UUID] = Field(description="The facts that it rests on.")


class SuppressionExplained(SuppressionShown):
    """A suppression with the facts about its address, newest first."""

    model_config = _example({**_SUPPRESSION, "evidence": [BOUNCE]})
    evidence: list[BounceShown]


class SuppressionBody(BaseModel):
    """An address to bar: for everything, or for marketing."""

    model_config = _example(
        {"address": "kim@example.com", "scope": "all", "note": "asked by phone, ticket 4711"}, extra="forbid"
    )
    address: str = Field(min_length=3, max_length=4096)
    kind: Kind | None = Field(None, description="Default: recognised by the address's form.")
    scope: Literal["all", "marketing"] = "all"
    note: Note


class LiftBody(BaseModel):
    """Why it may be used again."""

    model_config = _example({"note": "the customer wrote from this address today"}, extra="forbid")
    note: Note
