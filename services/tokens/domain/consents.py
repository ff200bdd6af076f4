"""Consent: marketing needs a recorded yes for topic and channel, and every statement keeps its proof.

A later statement overrules an earlier one, whatever the order in which they reach us: an old list imported
today does not undo last week's unsubscribe. At the same moment, no wins.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from libs.contracts.outcomes import Channel

ALL_TOPICS = "*"
MAX_PROOF = 500

_TOPIC = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Statement:
    """A yes or no to a topic on a channel, with its proof: when, how, and which text was agreed to."""

    topic: str
    channel: Channel
    granted: bool
    at: datetime
    how: str
    text_version: str | None = None
    message: str | None = None

    @property
    def note(self) -> str:
        """The proof in words, for the timeline."""
        answer = "yes" if self.granted else "no"
        text = f", text {self.text_version}" if self.text_version else ""
        topic = "all topics" if self.topic == ALL_TOPICS else self.topic
        return f"{topic} by {self.channel.word}: {answer} on {self.at:%Y-%m-%d %H:%M} UTC, {self.how}{text}"


def overrules(new: Statement, current: Statement | None) -> bool:
    """Whether a statement takes the place of what holds."""
    if current is None:
        return True
    if new.at == current.at:
        return current.granted and not new.granted
    return new.at > current.at


def granted(of_topic: Statement | None, of_all: Statement | None) -> bool:
    """Whether a recipient may be written to: a yes that no later (or simultaneous) no to everything overrules."""
    if of_topic is None or not of_topic.granted:
        return False
    return of_all is None or of_all.at < of_topic.at


def topic_name(text: str) -> str:
    """A topic as `access` names it. Raises ValueError with a sentence."""
    if text != ALL_TOPICS and not _TOPIC.fullmatch(text):
        raise ValueError("A topic's name has lower-case letters, digits, dots, hyphens and underscores.")
    return text
