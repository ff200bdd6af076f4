"""Consent: marketing needs a recorded yes for topic and channel, and every statement has its proof.

A later statement overrules an earlier one, in whatever order they arrive: an old list imported today does not undo
last week's unsubscribe. At the same moment, no wins.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.contracts.outcomes import Channel
from libs.near import did_you_mean

ALL_TOPICS = "*"
MAX_PROOF = 500

_TOPIC = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Statement:
    """A yes or no to a topic on a channel, with its proof: when, how, and which text was agreed to.

    Not `dated`: a row of a list without a date; `at` is when we read it, and proves nothing. `by_us`: `at` is our own
    clock's."""

    topic: str
    channel: Channel
    granted: bool
    at: datetime
    how: str
    text_version: str | None = None
    message: str | None = None
    dated: bool = True
    by_us: bool = False

    @property
    def note(self) -> str:
        """Return the proof in words, for the timeline."""
        answer = "yes" if self.granted else "no"
        text = f", text {self.text_version}" if self.text_version else ""
        topic = "all topics" if self.topic == ALL_TOPICS else self.topic
        return f"{topic} by {self.channel.word}: {answer} on {self.at:%Y-%m-%d %H:%M} UTC, {self.how}{text}"


def overrules(new: Statement, current: Statement | None, of_all: Statement | None = None) -> bool:
    """Whether a statement replaces the current one; `of_all` is the no to everything on its channel."""
    if not new.dated and new.granted:
        # an old list without dates, imported after a STOP, must not undo it
        return current is None and of_all is None
    if not new.dated:
        return current is None or current.granted
    if current is None:
        return True
    if new.at == current.at:
        return current.granted and not new.granted
    return new.at > current.at


def as_heard(new: Statement, standing: Iterable[Statement], now: datetime) -> Statement:
    """Return a statement as it is recorded, given what stands. Shops' clocks differ, so a yes may be dated a few
    minutes after `now`; a no that our own clock dated overrules it all the same, and gets its date."""
    if new.granted or not new.by_us:
        return new
    about = [yes for yes in standing if yes.channel is new.channel and new.topic in (yes.topic, ALL_TOPICS)]
    ahead = [yes.at for yes in about if yes.granted and yes.at > now]
    return replace(new, at=max([new.at, *ahead]))


def repeats(new: Statement, current: Statement | None) -> bool:
    """Whether it repeats the current statement: a redelivery, or the same undated list."""
    if current is None or (current.granted, current.how) != (new.granted, new.how):
        return False
    return current.at == new.at or not new.dated


def granted(of_topic: Statement | None, of_all: Statement | None) -> bool:
    """Whether a recipient may be written to: there is a yes that no later (or simultaneous) no to everything
    overrules."""
    if of_topic is None or not of_topic.granted:
        return False
    return of_all is None or of_all.at < of_topic.at


def unknown_topic(name: str, near: Sequence[str]) -> str:
    """Return the sentence for a topic that does not exist; `near`: topics that resemble it."""
    return f"There is no topic {name!r}.{did_you_mean(near)} Create it in access, or use one that exists."


def topic_name(text: str) -> str:
    """Return a topic's name as in `access`. Raises ValueError with a sentence."""
    if text != ALL_TOPICS and not _TOPIC.fullmatch(text):
        raise ValueError("A topic's name may have lower-case letters, digits, dots, hyphens and underscores.")
    return text
