"""Owns the translation of a mail into a report: what kind of answer it is, and what it says about each recipient.

RFC 3464 (delivery status), RFC 5965 (feedback loops), RFC 3834 (automatic replies), and the habits of servers that
follow none of them: then their sentences are the report.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from operator import attrgetter

import msgspec

from services.bounce.domain.kinds import Kind, kind_of
from services.bounce.domain.mime import Headers, Part, split_message
from services.bounce.domain.outcome import has_arrived, is_still_tried
from services.bounce.domain.own_words import human_text
from services.bounce.domain.reading import Mail
from services.bounce.domain.status import (
    MAX_RECIPIENTS,
    Reported,
    codes_in,
    delivery_status,
    delivery_statuses,
)
from services.bounce.domain.told import ADDRESS, Told, stage_of, told_by, transcribed

__all__ = ["Kind", "Report", "Reported", "codes_in", "read_mail", "told_about"]

NO_FIELDS = Headers([])

_ADDRESS = re.compile(ADDRESS)
# AOL, CompuServe and GroupWise name their own users without the domain
_BARE = re.compile(
    r"(?:to the following(?: recipients?)?(?: could not be delivered[^\n]{0,200})?|receiver not found):\s{1,8}"
    r"([\w.+-]{1,64})(?=[ \t\r]{0,20}$| \()",
    re.I | re.M,
)
# before our own address and other people's: in a sentence, as a field of JSON or XML, or in the header lines that some
# servers quote
_FROM_US = re.compile(
    r"\bfrom you:?\s{0,4}<?\Z|\b(?:from|sender|absender)\b[\"'>:=]{0,3}\s{0,4}[\"'<]{0,2}\Z"
    r"|\bmessage(?:[ -]id)?:?\s{0,4}<?\Z"
    r"|^[ \t>]{0,12}(?:from|sender|von|absender|de|da|van|afzender|expéditeur|remitente|remetente"
    r"|mittente|от|od|gönderen|差出人|送信者|发件人|發件人|寄件者|보낸 ?사람)[ \t]{0,6}[::][^\n@]{0,60}\Z",
    re.I | re.M,
)
_BEFORE = 100  # characters
_RCPT = re.compile(rf"\brcpt to:\s{{0,2}}<?({ADDRESS})", re.I)
# users of GroupWise, one below the other, each with a reason
_BARES = re.compile(r"^[ \t]{1,12}([\w.+-]{1,64}) \(([^)\n]{3,200})\)[ \t\r]*$", re.M)
_MOST_FORWARDED = 3  # times
_REFUSALS = 400  # the first code of these
_OFFICES = ("postmaster@", "mailer-daemon@", "abuse@", "support@", "helpdesk@", "admin@", "administrator@")
_FINAL = re.compile(rf"^final-recipient:[^\n@]{{0,40}}?({ADDRESS})", re.I | re.M)


class Sentences:
    """The server's own words, read on demand: most reports say all in their fields."""

    __slots__ = ("_text", "_told", "mail")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self._text: str | None = None
        self._told: list[Told] | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = human_text(self.mail.parts)
        return self._text

    @property
    def told(self) -> list[Told]:
        """What they say about each recipient; cached, since a report about a hundred asks a hundred times."""
        if self._told is None:
            self._told = told_by(self.text)
        return self._told


class Report(msgspec.Struct, frozen=True, dict=True):
    kind: Kind
    recipients: tuple[Reported, ...]
    feedback: Headers
    sentences: Sentences
    mail: Mail

    @property
    def text(self) -> str:
        return self.sentences.text

    @property
    def feedback_type(self) -> str:
        return self.feedback.get("feedback-type").lower()

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Addresses that may contain our signed VERP, the more trustworthy place first.

        Found on demand: most mails are sent to the signed address itself.
        """
        mail = self.mail
        places = [
            *(value for name in ("to", "delivered-to", "x-original-to") for value in mail.headers.all(name)),
            *(value for name in ("return-path", "errors-to", "sender") for value in mail.returned_headers.all(name)),
            self.feedback.get("original-mail-from"),
        ]
        found = (match for place in places for match in _ADDRESS.findall(place[:2_000]))
        return tuple(dict.fromkeys(found))[:20]


def read_mail(raw: bytes) -> Report:
    """Return the report in these bytes, or the one that they forward. Bounded, never raises."""
    return read_mails([raw])[0]


def read_mails(raws: Sequence[bytes]) -> list[Report]:
    """Return the reports of many mails, each step over all of them: a step that runs a thousand times in a row finds
    its code and its tables in the processor's caches, which halves the cost of reading a mail."""
    mails = [Mail(raw) for raw in raws]
    fields = delivery_statuses(mails)
    for place, mail in enumerate(mails):
        inside, depth = mail.inside if not fields[place] else None, 0
        while inside is not None and not fields[place] and depth < _MOST_FORWARDED:
            mails[place] = Mail(inside)
            fields[place] = delivery_status(mails[place])
            inside, depth = mails[place].inside, depth + 1
    humans = [Sentences(mail) for mail in mails]
    read_sentences([human for human, said in zip(humans, fields, strict=True) if not said])
    feedbacks = [_feedback(mail.parts) if mail.has(b"feedback-report") else NO_FIELDS for mail in mails]
    known = list(zip(mails, feedbacks, fields, humans, strict=True))
    kinds = [kind_of(mail, feedback, bool(said), human) for mail, feedback, said, human in known]
    recipients = [
        said if kind is not Kind.BOUNCE else _completed(said, human) if said else _from_text(human)
        for kind, said, human in zip(kinds, fields, humans, strict=True)
    ]
    return [Report(*one) for one in zip(kinds, recipients, feedbacks, humans, mails, strict=True)]


def read_sentences(humans: Sequence[Sentences]) -> None:
    """Compute and cache, step by step, what will be needed of these."""
    for what in (attrgetter("mail.headers"), attrgetter("mail.parts"), attrgetter("text"), attrgetter("told")):
        for human in humans:
            what(human)


def told_about(human: Sentences, address: str | None, alone: bool) -> Told | None:
    """Return what the sentences say about this recipient; all of them if it is the only one."""
    told = human.told if human.text.strip() else []
    wanted = (address or "").lower()
    named = next((one for one in told if one.address and one.address.lower() == wanted), None)
    if named is None and alone and told:
        return told[0] if len(told) == 1 else Told(address, human.text)
    return named


def _completed(recipients: tuple[Reported, ...], human: Sentences) -> tuple[Reported, ...]:
    """Complete fields that say nothing from the sentences above them."""
    stage = stage_of(human.text) if human.mail.has(b">>> data") else None
    done = []
    for one in recipients:
        codes_say_little = not one.enhanced or one.enhanced.endswith(".0.0")
        if not one.text and codes_say_little:
            told = told_about(human, one.address, len(recipients) == 1)
            words = told.words if told else ""
            code, enhanced = codes_in(words)
            one = one._replace(reply_code=code, enhanced=enhanced or one.enhanced)
            one = one._replace(text=words, host=one.host or told.host) if told else one
        if one.address is None and len(recipients) == 1:
            one = one._replace(address=_mentioned(human))  # the field has an internal name (LOCAL, X400)
        done.append(one._replace(stage=stage) if stage else one)
    return tuple(done)


def _from_text(sentences: Sentences) -> tuple[Reported, ...]:
    human, told = sentences.text, sentences.told
    failed = _ADDRESS.findall(sentences.mail.headers.get("x-failed-recipients"))[:MAX_RECIPIENTS]
    action = "delayed" if is_still_tried(human, sentences.mail.headers.get("subject")) else "failed"
    if has_arrived(human):
        action = "delivered"
    if apart := transcribed(human)[:MAX_RECIPIENTS]:
        return tuple(_told_of(one, action, stage_of(one.text)) for one in apart)
    stage = stage_of(human)
    if len(told) == 1 and told[0].address is None:
        named = failed or [_mentioned(sentences)]
        told = _own_users(sentences) or [Told(one, told[0].text) for one in named]
    return tuple(_told_of(one, action, stage) for one in told[:MAX_RECIPIENTS])


def _told_of(told: Told, action: str, stage: str | None) -> Reported:
    words = told.words
    code, enhanced = codes_in(words)
    if code and code < _REFUSALS and (enhanced or "").startswith("2"):
        action = "delivered"  # of several recipients in one report, it reached this one
    return Reported(told.address, action, code, enhanced, words, told.host, stage)


def _own_users(sentences: Sentences) -> list[Told]:
    """Return what is said about several users of the server itself, which it names without their domain."""
    users = _BARES.findall(sentences.text) if _BARE.search(sentences.text) else []
    server = _ADDRESS.search(sentences.mail.headers.get("from")) if len(users) > 1 else None
    domain = server[0].partition("@")[2] if server else ""
    return [Told(f"{name}@{domain}", reason) for name, reason in users[:MAX_RECIPIENTS]] if domain else []


def _mentioned(sentences: Sentences) -> str | None:
    """Return the address that sentences are about if none begins a line: the first that is not the notified one."""
    mail = sentences.mail
    for text in mail.plain_parts((b"message/disposition-notification",)):
        if (found := _FINAL.search(text)) is not None:
            return found[1]
    commands = _RCPT.findall(sentences.text)
    if commands:
        return str(commands[-1])  # a session ends where the last one was refused
    bare, server = _BARE.search(sentences.text), _ADDRESS.search(mail.headers.get("from"))
    if bare and server:
        return f"{bare[1]}@{server[0].partition('@')[2]}"
    told = mail.headers.get("to").lower()
    text = sentences.text
    found_here = list(islice(_ADDRESS.finditer(text), MAX_RECIPIENTS))
    apart = [
        found for found in found_here if not _FROM_US.search(text[max(0, found.start() - _BEFORE) : found.start()])
    ]
    mentioned = [found[0].lstrip("'`") for found in apart or found_here]
    others = (one for one in mentioned if one.lower() not in told and not one.lower().startswith(_OFFICES))
    return next(others, mentioned[0] if mentioned else _written_to(mail))


def _written_to(mail: Mail) -> str | None:
    """Return the one address that the returned mail was written to, or that the subject names."""
    for value in (mail.headers.get("subject"), mail.returned_headers.get("to")):
        named: dict[str, str] = {one.lower(): one for one in _ADDRESS.findall(value[:2_000])}
        if len(named) == 1:
            return next(iter(named.values()))
    return None


def _feedback(parts: list[Part]) -> Headers:
    for part in parts:
        if part.type == "message/feedback-report":
            return split_message(part.text.strip().encode() + b"\n\n")[0]
    return Headers([])
