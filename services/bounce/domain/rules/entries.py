"""Owns a rule as people write it: its author's document, and its state between draft and retired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from libs.contracts.outcomes import Word
from services.bounce.domain.rules.rule import Layer


class State(Word):
    """A rule's role in the next rule set: none, only watched, decides, no longer part of it."""

    DRAFT = 0
    SHADOW = 1
    LIVE = 2
    RETIRED = 3


NEXT: Mapping[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.DRAFT, State.SHADOW, State.LIVE, State.RETIRED}),
    State.SHADOW: frozenset({State.DRAFT, State.SHADOW, State.LIVE, State.RETIRED}),
    State.LIVE: frozenset({State.DRAFT, State.SHADOW, State.LIVE, State.RETIRED}),
    # it returns as a draft, so that somebody reviews it again
    State.RETIRED: frozenset({State.RETIRED, State.DRAFT}),
}
TAKING_PART = frozenset({State.SHADOW, State.LIVE})


class Wanted(NamedTuple):
    """A rule as its author wants it. `document`: without id, layer and state."""

    id: str
    layer: Layer
    state: State
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule that people wrote, in its working state. Shipped ones have no times."""

    id: str
    layer: Layer
    state: State
    document: Mapping[str, Any]
    version: int
    author: str
    created_at: datetime | None
    changed_by: str
    changed_at: datetime | None


class Published(NamedTuple):
    """What a rule set stores of a rule."""

    id: str
    layer: Layer
    state: State
    version: int
    document: Mapping[str, Any]


def published(entries: Sequence[Entry]) -> list[Published]:
    """Return the rules that take part, in order."""
    return [Published(e.id, e.layer, e.state, e.version, e.document) for e in entries if e.state in TAKING_PART]
