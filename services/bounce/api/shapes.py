"""What bounce takes and gives over HTTP, with an example each."""

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
    """A mail that was handed in: `waiting`, `read` (outcome: the category, or why not) or `backscatter`."""

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
    rule: str | None = Field(
        description="The rule that decided; null where the form of the report did, the model, or nothing."
    )
    matched: list[str] | None = Field(description="Every rule that matched, the one that decided first.")
    shadow: list[str] | None = Field(description="Rules that matched too and only look: none of them has a say.")
    confidence: float | None = Field(
        description="How far to believe it, from 0 to 1: of a rule an order, of the model a probability."
    )
    provider: str | None = Field(description="Whose reply it is, by the host that refused or the address's domain.")
    template: str | None = Field(description="The text without what differs from mail to mail.")
    rule_set: str | None = Field(
        description="The digest of the rules that were asked; `model:` and its digest where the model answered."
    )
    from_domain: str
    communication: str
    decision: str = Field(description="leaves, waits, asks (the DNS), bars, or parked while its provider is doubted.")
    policy: str = Field(description="The rule of the policy that decided.")
    doubtful: bool = Field(description="Said while its provider's breaker was open, or shortly before.")
    void: bool = Field(description="Undone: it counts as no proof.")
    stage: str | None = Field(description="The SMTP command that was answered, where the report tells it.")
    vendor: str | None = Field(description="The mail vendor that told us of it, with an opinion of its own.")
    vendor_class: str | None = Field(description="The vendor's class of the bounce, in its own words.")
    vendor_category: str | None = Field(description="The category that its class means, where it means exactly one.")
    model_category: str | None = Field(description="What the model makes of the words; null where it was not asked.")
    model_confidence: float | None


class SuppressionShown(BaseModel):
    """What is barred, since when and why. The address itself is not kept, only its hash."""

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
    category: str | None = Field(description="Of the fact that placed it; null where a person did.")
    provider: str | None
    rule: str | None = Field(description="The rule that gave the category.")
    rule_set: str | None
    policy: str | None = Field(description="The rule of the policy that decided.")
    proofs: list[UUID] = Field(description="The facts that it rests on.")


class SuppressionExplained(SuppressionShown):
    """A suppression with the facts about its address, newest first."""

    model_config = _example({**_SUPPRESSION, "evidence": [BOUNCE]})
    evidence: list[BounceShown]


class SuppressionBody(BaseModel):
    """An address to bar: from everything, or from marketing."""

    model_config = _example(
        {"address": "kim@example.com", "scope": "all", "note": "asked by phone, ticket 4711"}, extra="forbid"
    )
    address: str = Field(min_length=3, max_length=4096)
    kind: Kind | None = Field(None, description="Seen from the address's form where it is left out.")
    scope: Literal["all", "marketing"] = "all"
    note: Note


class LiftBody(BaseModel):
    """Why it may be written to again."""

    model_config = _example({"note": "the customer wrote from this address today"}, extra="forbid")
    note: Note
