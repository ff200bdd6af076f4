"""Tests a pasted reply or mail against the rules."""

from typing import Any, Literal, Self

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.web import Router
from services.bounce.api import Reader, deps_of
from services.bounce.api.rule_shapes import BODY, NewRule
from services.bounce.api.rules import wanted_of
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.handlers.trying import Opinion, Pasted, tried

router = Router(prefix="/v1", tags=["rules"])

_TEXT = "550 5.1.1 house rule: no marketing to this mailbox"
_OPINION: dict[str, Any] = {
    "rule_set": 7,
    "digest": "06d92e47bf4006eb",
    "category": "unknown-user",
    "group": "hard",
    "action": "suppress",
    "permanent": True,
    "rule": "unknown-user-code",
    "confidence": 0.75,
    "text": _TEXT,
    "reply_code": 550,
    "enhanced_code": "5.1.1",
    "provider": None,
    "matched": [
        {
            "rule": "unknown-user-code",
            "layer": "shipped",
            "shadow": False,
            "category": "unknown-user",
            "priority": 200,
            "by": [{"pointer": "/enhanced/0", "says": "5.1.1"}],
        }
    ],
}


class TrialBody(BaseModel):
    """A reply (with what is known besides its words) or a whole mail; and optionally a rule that is not saved yet."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": _TEXT, "rule": {"id": "our-house-rule", **BODY}}]},
    )
    text: str | None = Field(None, max_length=24_000, description="The server's reply.")
    mail: str | None = Field(None, max_length=800_000, description="The original bounce mail, with its headers.")
    reply: int | None = Field(None, ge=200, le=599, description="Default: read from the text.")
    enhanced: str | None = Field(None, max_length=20, description="The same.")
    provider: str | None = Field(None, max_length=100, examples=["gmail"])
    source: Literal["session", "report", "text", "receipt"] = "text"
    stage: Literal["connect", "helo", "mail", "rcpt", "data"] | None = None
    rule: NewRule | None = Field(None, description="Counts as live in the draft, whatever its state.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.mail is None):
            raise ValueError("send either `text` or `mail`")
        return self


class HitShown(BaseModel):
    """What made a rule match: the place in the rule, and its text."""

    pointer: str
    says: str


class MatchedShown(BaseModel):
    """A rule that matched."""

    rule: str
    layer: str
    shadow: bool
    category: str
    priority: int
    by: list[HitShown]


class OpinionShown(BaseModel):
    """One rule set's result. `rule`: the one that decides; `matched`: all, the deciding one first, shadows last."""

    model_config = ConfigDict(json_schema_extra={"examples": [_OPINION]})
    rule_set: int | None = Field(description="Its number; null: the unpublished draft.")
    digest: str
    category: str
    group: str
    action: str
    permanent: bool
    rule: str | None
    confidence: float
    text: str
    reply_code: int | None
    enhanced_code: str | None
    provider: str | None
    matched: list[MatchedShown]


class TrialShown(BaseModel):
    """The rules in force beside those that a publication would put in force."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"in_force": _OPINION, "draft": {**_OPINION, "rule_set": None, "category": "policy"}}]
        }
    )
    in_force: OpinionShown
    draft: OpinionShown


@router.post("/rules:test", summary="Test a reply or a mail")
async def try_rules(request: Request, principal: Reader, body: TrialBody) -> TrialShown:
    """Test a reply or mail: which rule decides, all that matched, and what made them match. Nothing is written."""
    reply = Reply(body.text or "", body.reply, body.enhanced, body.provider, body.source, body.stage)
    mail = body.mail.encode() if body.mail is not None else None
    rule = wanted_of(body.rule.id, body.rule) if body.rule else None
    now, draft = await tried(deps_of(request), Pasted(reply, mail, rule))
    return TrialShown(in_force=_shown(now), draft=_shown(draft))


def _shown(opinion: Opinion) -> OpinionShown:
    fact, category = opinion.fact, CATEGORIES[opinion.fact.category]
    return OpinionShown(
        rule_set=opinion.number,
        digest=opinion.digest,
        category=fact.category,
        group=category.group,
        action=category.action,
        permanent=fact.permanent,
        rule=fact.rule,
        confidence=fact.confidence,
        text=fact.text,
        reply_code=fact.reply_code,
        enhanced_code=fact.enhanced,
        provider=fact.provider,
        matched=[
            MatchedShown(
                rule=one.rule.id,
                layer=one.rule.layer.word,
                shadow=one.rule.shadow,
                category=one.rule.category,
                priority=one.rule.priority,
                by=[HitShown(**hit._asdict()) for hit in one.hits],
            )
            for one in opinion.matched
        ],
    )
