"""History's HTTP responses, with an example each."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.paging import Page

MESSAGE = "0193c8a4-1e00-8f4c-b1ce-5b7a9d1c2e3f.17"
_LINKS = {"trace": "https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c"}
_ENTRY: dict[str, Any] = {
    "at": "2027-03-01T09:30:01.250Z",
    "source": "delivery",
    "kind": "transition",
    "text": "Accepted by the provider by push under projects/shop/messages/0:17.",
    "message": MESSAGE,
    "recipient": "customer:1042",
    "order": "A-1042",
    "communication": "parcel-shipped",
    "links": _LINKS,
}
_FACT = {name: _ENTRY[name] for name in ("at", "source", "kind", "text", "message")}
_WHY = {
    "verdict": "sent",
    "certain": True,
    "reason": None,
    "sentence": "It was sent: the provider accepted it by push at 2027-03-01 09:30:01 UTC.",
    "next_step": "Ask the customer to check the spam folder or the device's notification settings.",
    "until": None,
    "lost_at": None,
    "communication": "parcel-shipped",
    "recipient": "customer:1042",
    "order": "A-1042",
    "messages": [MESSAGE],
    "facts": [_FACT],
    "render": {"digest": "equal", "why": None, "parts": None},
    "others": [],
    "links": _LINKS,
}
_ACTION = {
    "id": "0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d",
    "at": "2027-03-01T09:30:00Z",
    "actor": "7mxq4zdkzt3la5vw",
    "action": "suppression.lift",
    "object": "0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d",
    "before": {"active": True},
    "after": {"active": False},
    "note": "the customer wrote from this address today",
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class FactShown(BaseModel):
    """One link of the chain: when, who says so, and what happened."""

    model_config = _example(_FACT)
    at: AwareDatetime
    source: str
    kind: str
    text: str
    message: str | None


class LinksShown(BaseModel):
    """Links to related pages."""

    model_config = _example(_LINKS)
    trace: str | None = Field(description="The cause's trace, if it has one and DEPESCHE_TRACE_URL is set.")


class EntryShown(FactShown):
    """A fact with its recipient, order and communication."""

    model_config = _example(_ENTRY)
    recipient: str | None
    order: str | None
    communication: str | None
    links: LinksShown


class TimelineShown(Page[EntryShown]):
    """One page of a timeline."""

    complete: bool = Field(
        True, description="False: decisions and other events are unavailable; messages are complete."
    )


class RenderShown(BaseModel):
    """The text rendered again from its release: `equal`, `differs` or `not_reproducible`. Parts need the scope
    pii:read."""

    digest: str
    why: str | None
    parts: dict[str, Any] | None


class OtherShown(BaseModel):
    """Another notification that matches the question, with a short verdict."""

    communication: str | None
    recipient: str | None
    order: str | None
    message: str | None
    at: AwareDatetime
    verdict: str
    sentence: str


class WhyShown(BaseModel):
    """One verdict in plain words, with the facts that it rests on and the next step."""

    model_config = _example(_WHY)
    verdict: Literal["sent", "sent_twice", "bounced", "not_sent", "not_yet", "unknown", "no_trace"]
    certain: bool = Field(description="False where the facts allow another reading.")
    reason: str | None = Field(description="A word of the closed list of reasons, where there is one.")
    sentence: str
    next_step: str
    until: AwareDatetime | None = Field(description="For not_yet: the time of the next attempt.")
    lost_at: str | None = Field(
        description="For no_trace: where the trace ends (source, address, intake, decision, request)."
    )
    communication: str | None
    recipient: str | None
    order: str | None
    messages: list[str]
    facts: list[FactShown]
    render: RenderShown | None
    others: list[OtherShown]
    links: LinksShown


class ActionShown(BaseModel):
    """What a person, a key or a service changed."""

    model_config = _example(_ACTION)
    id: UUID
    at: AwareDatetime
    actor: str | None
    action: str | None
    object: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    note: str | None
