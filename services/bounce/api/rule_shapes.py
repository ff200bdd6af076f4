"""Rules and rule sets over HTTP, with an example each."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from services.bounce.api.deciding import UndoShown
from services.bounce.api.shapes import Note
from services.bounce.domain.rules.entries import Entry
from services.bounce.domain.rules.regression import Lost

_DOCUMENT: dict[str, Any] = {
    "category": "policy",
    "contains": ["house rule * marketing"],
    "reply": ["5xx"],
    "provider": ["gmail"],
    "note": "Answered to our newsletter only; the mailboxes are alive.",
    "examples": ["550 5.1.1 house rule: no marketing to this mailbox"],
}
BODY: dict[str, Any] = {"layer": "organisation", "state": "live", **_DOCUMENT}
SHOWN: dict[str, Any] = {
    "id": "our-house-rule",
    **BODY,
    "version": 3,
    "in_force": 2,
    "author": "key_8f3a",
    "created_at": "2027-03-01T09:00:00Z",
    "changed_by": "key_8f3a",
    "changed_at": "2027-03-01T09:20:00Z",
}


def _listed(value: Any) -> Any:
    """Accept a single text instead of a list, and a reply code as a number."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]


Texts = Annotated[list[str], BeforeValidator(_listed)]
LayerWord = Literal["organisation", "emergency"]
StateWord = Literal["draft", "shadow", "live", "retired"]
RuleId = Annotated[str, StringConstraints(min_length=1, max_length=80)]


class Example(BaseModel):
    """A reply that the rule is for. Fields that are not given are read from the text."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(max_length=2_000)
    reply: int | None = None
    enhanced: str | None = Field(None, max_length=20)
    provider: str | None = Field(None, max_length=100)
    stage: str | None = Field(None, max_length=20)
    source: str | None = Field(None, max_length=20)


ExampleText = Annotated[str, StringConstraints(max_length=2_000)]


class RuleDocument(BaseModel):
    """A rule's document. All given conditions must hold; docs/bounces.md describes the form of each."""

    model_config = ConfigDict(extra="forbid")
    category: str | None = Field(None, max_length=30, description="The reply's category, from the closed table.")
    contains: Texts = Field(default_factory=list, description="Phrases, any of which occurs.")
    starts: Texts = Field(default_factory=list, description="Phrases, with any of which the reply begins.")
    regex: Texts = Field(default_factory=list, description="Expressions, any of which matches; bounded and linear.")
    unless: Texts = Field(default_factory=list, description="Phrases, none of which occurs.")
    provider: Texts = Field(default_factory=list, description="The provider that replied.")
    reply: Texts = Field(default_factory=list, description="550, 5xx or 550-559.")
    enhanced: Texts = Field(default_factory=list, description="5.1.1, x.1.1 or 5.7.x.")
    stage: Texts = Field(default_factory=list, description="connect, helo, mail, rcpt or data: the command answered.")
    source: Texts = Field(default_factory=list, description="session, report, text or receipt: how it arrived.")
    switches_off: Texts = Field(
        default_factory=list, description="Rules of lower layers that are out of force while this one is live."
    )
    priority: int | None = Field(None, description="0 to 999, within the layer; default: by its conditions.")
    note: str = Field("", max_length=2_000, description="Why we believe it.")
    examples: list[ExampleText | Example] = Field(default_factory=list, description="Replies that it must decide.")

    def document(self) -> dict[str, Any]:
        """Return the document to store, without empty fields."""
        held = {name: getattr(self, name) for name in RuleDocument.model_fields}
        held["examples"] = [e if isinstance(e, str) else e.model_dump(exclude_none=True) for e in self.examples]
        return {name: value for name, value in held.items() if value not in (None, "", [])}


class RuleBody(RuleDocument):
    """A rule as its author wants it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [BODY]})
    layer: LayerWord = "organisation"
    state: StateWord = "draft"


class NewRule(RuleBody):
    """A rule to create."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"id": "our-house-rule", **BODY}]})
    id: RuleId = Field(description="Lower-case letters, digits and hyphens; facts refer to the rule by it.")


class Decided(BaseModel):
    """The rule that decides, and its category; null: none."""

    rule: str | None
    category: str


class LostExample(BaseModel):
    """An example that another rule decides."""

    rule: str
    number: int = Field(description="Its index in the rule's list.")
    text: str
    now: Decided
    before: Decided | None = Field(None, description="The result under the rules in force.")
    acknowledged: bool | None = None

    @classmethod
    def of(cls, lost: Lost) -> "LostExample":
        """Convert from the handlers' form."""
        return cls(rule=lost.rule, number=lost.number, text=lost.text, now=Decided(**lost.now._asdict()))


class RuleCounts(BaseModel):
    """A rule's hits in the last 30 days, among your facts: GET rules/{id}/hits has them by day."""

    decided: int
    outdone: int = Field(description="It matched, and another one decided.")
    shadow: int = Field(description="It matched while only being watched.")
    last_at: AwareDatetime | None = Field(description="When it matched last, however long ago.")


class RuleShown(RuleDocument):
    """A rule in its working state. `in_force`: its version in the newest rule set; null: none."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [SHOWN]})
    id: str
    layer: str
    state: str
    version: int
    in_force: int | None
    author: str
    created_at: AwareDatetime | None
    changed_by: str
    changed_at: AwareDatetime | None
    switched_off_by: str | None = Field(None, description="The rule in force that switches this one off.")
    hits: RuleCounts | None = Field(None, description="Null after saving.")
    lost: list[LostExample] = Field(
        default_factory=list, description="After saving: its examples that it would not decide."
    )


def shown_entry(entry: Entry, in_force: int | None, lost: list[Lost] | None = None) -> RuleShown:
    """Return a rule that people wrote."""
    return RuleShown(
        **entry.document,
        id=entry.id,
        layer=entry.layer.word,
        state=entry.state.word,
        version=entry.version,
        in_force=in_force,
        author=entry.author,
        created_at=entry.created_at,
        changed_by=entry.changed_by,
        changed_at=entry.changed_at,
        lost=[LostExample.of(one) for one in lost or ()],
    )


class RuleVersion(BaseModel):
    """A former version of a rule, and its author."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": 3,
                    "state": "live",
                    "changed_by": "key_8f3a",
                    "changed_at": "2027-03-01T09:20:00Z",
                    "document": _DOCUMENT,
                }
            ]
        }
    )
    version: int
    state: str
    changed_by: str
    changed_at: AwareDatetime
    document: RuleDocument


_HEAD: dict[str, Any] = {
    "number": 7,
    "digest": "06d92e47bf4006eb",
    "emergency": False,
    "restores": None,
    "author": "key_8f3a",
    "note": "house rules of two providers",
    "published_at": "2027-03-01T09:30:00Z",
    "count": 12,
}
_REGRESSION: dict[str, Any] = {"examples": 331, "failed": [], "taken": []}


class Regression(BaseModel):
    """What the examples showed: own ones that another rule decides, and those taken from shipped rules."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REGRESSION]})
    examples: int = 0
    failed: list[LostExample] = Field(default_factory=list)
    taken: list[LostExample] = Field(default_factory=list)


class RuleSetHead(BaseModel):
    """A published rule set. `restores`: the earlier set it brought back; `count`: the number of rules people wrote."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HEAD]})
    number: int
    digest: str
    emergency: bool
    restores: int | None
    author: str
    note: str
    published_at: AwareDatetime
    count: int


class PublishedRule(BaseModel):
    """A rule as published."""

    id: str
    layer: str
    state: str
    version: int
    document: RuleDocument


class RuleSetShown(RuleSetHead):
    """A rule set with its rules, and the results of the examples before publication."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_HEAD, "regression": _REGRESSION, "rules": []}]})
    regression: Regression
    rules: list[PublishedRule]


class PublishBody(BaseModel):
    """What to publish, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"note": "house rules of two providers", "acknowledged": ["policy-words"]}]},
    )
    note: Note
    acknowledged: list[RuleId] = Field(
        default_factory=list, max_length=500, description="Shipped rules that may lose some of their examples."
    )
    emergency: bool = Field(
        False,
        description="Only the emergency layer, over the set in force; examples are reported but do not refuse it.",
    )
    replay: UUID | None = Field(
        None, description="A replay of these rules that somebody reviewed: refused if they have changed since."
    )


class RollBackBody(BaseModel):
    """Why the earlier set is restored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"note": "the new rule took blocks for dead mailboxes", "undo_effects": True, "preview": False}
            ]
        },
    )
    note: Note
    undo_effects: bool = Field(False, description="Lift what was barred since, and the earlier set would not have.")
    preview: bool = Field(False, description="Only report what would be lifted; nothing is rolled back.")


class RolledBack(BaseModel):
    """`rule_set`: the new one; null in a preview. `effects`: what was lifted, or would be, for all tenants."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rule_set": {**_HEAD, "number": 8, "restores": 6},
                    "effects": {"preview": False, "lifted": 1000, "dropped": 0, "void": 1000},
                }
            ]
        }
    )
    rule_set: RuleSetHead | None
    effects: UndoShown
