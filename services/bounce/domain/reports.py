"""Owns the translation of a mail into a report: what kind of answer it is, and what it says per recipient.

RFC 3464 (delivery status), RFC 5965 (feedback loops), RFC 3834 (automatic replies), and the habits of servers
that follow none of them: then the human text is the report.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from services.bounce.domain.mime import Headers, Part, parse, parse_headers, split_message

MAX_RECIPIENTS = 100
MAX_TEXT = 4_000

_TEXT = re.compile(r"^text/(plain|html)$")
_RETURNED = re.compile(r"^(message/rfc822|message/global|text/rfc822-headers|message/global-headers)$")
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_FIELDS = re.compile(r"^(?:final-recipient|original-recipient|action|status|diagnostic-code)[ \t]*:", re.I | re.M)
# where servers without MIME put the returned mail below their own words
_RETURNED_BELOW = re.compile(
    r"^.{0,12}(?:this is a copy of (?:the|your) message|below this line is a copy of the message|original message"
    r"|returned message|message header(?:s)? follow|unsent message|headers? of the (?:original )?message"
    r"|(?:ursprüngliche|original-)\s?nachricht|message d'origine|mensaje original)",
    re.I | re.M,
)
_REPLY = re.compile(r"(?<![\d.])([245]\d\d)(?=[ \-#(:,;.\]]|$)(?!\.\d)")
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\.\d)")
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}")


class Kind(StrEnum):
    BOUNCE = "bounce"
    FEEDBACK = "feedback"
    AUTH_REPORT = "auth-report"
    AUTO_REPLY = "auto-reply"
    CHALLENGE = "challenge"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report says about one recipient. `action` is RFC 3464's word; `failed` where it gave none.

    `host`: the remote server that answered; `stage`: the SMTP command that it answered, where the report tells.
    """

    address: str | None
    action: str
    reply_code: int | None
    enhanced: str | None
    text: str
    host: str | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    kind: Kind
    recipients: tuple[Reported, ...]
    feedback_type: str
    text: str
    candidates: tuple[str, ...]  # addresses that may carry our VERP, best evidence first


def read_mail(raw: bytes) -> Report:
    """The report that these bytes are. Bounded, never raises."""
    root, parts = parse(raw)
    human = human_text(parts)
    returned = _returned_headers(parts, root)
    recipients = _delivery_status(parts)
    feedback = _feedback(parts)
    kind = _kind(root, feedback, bool(recipients), human)
    if kind is Kind.BOUNCE and not recipients:
        recipients = _from_text(root, human)
    return Report(kind, recipients, feedback.get("feedback-type").lower(), human, _candidates(root, returned, feedback))


def _kind(root: Part, feedback: Headers, has_status: bool, human: str) -> Kind:
    report_type = root.parameters.get("report-type", "").lower()
    subject = root.headers.get("subject")
    if feedback.items:
        return Kind.AUTH_REPORT if feedback.get("feedback-type").lower() in _AUTH_FEEDBACK else Kind.FEEDBACK
    if report_type == "feedback-report" or _JMRP.search(human[:500]) or root.headers.get("x-hmxmroriginalrecipient"):
        return Kind.FEEDBACK
    from_a_server = _is_from_a_server(root.headers)
    if has_status or report_type == "delivery-status" or (from_a_server and _BOUNCE_SUBJECT.search(subject)):
        return Kind.BOUNCE  # also where it calls itself auto-replied, as Exim does
    if _DMARC_SUBJECT.search(subject):
        return Kind.AUTH_REPORT
    if _CHALLENGE.search(subject) or _CHALLENGE.search(human[:1_500]):
        return Kind.CHALLENGE
    if _is_automatic(root.headers):
        return Kind.AUTO_REPLY
    if from_a_server or _BOUNCE_SUBJECT.search(subject):
        return Kind.BOUNCE
    return Kind.OTHER


_JMRP = re.compile(r"(?:abuse|spam) (?:report|complaint)|complaint about (?:a )?message from", re.I)
_AUTH_FEEDBACK = frozenset({"auth-failure", "dmarc"})
_DMARC_SUBJECT = re.compile(r"report[- ]domain:|\bdmarc (?:aggregate )?report\b", re.I)
_CHALLENGE = re.compile(
    r"(?:click|reply|respond|follow)[^.]{0,80}(?:to (?:confirm|verify|prove)|so that your (?:message|mail))"
    r"[^.]{0,60}(?:you are|human|deliver|sender|your (?:message|mail|e-?mail))|challenge[- ]response"
    r"|(?:verify|confirm) (?:yourself|that you are) (?:as )?(?:a )?(?:human|the sender|real)|boxbe|spamarrest",
    re.I,
)
_AUTO_SUBJECT = re.compile(
    r"^\s*(?:re:\s*)?(?:auto(?:matic|mated|matische)?[ -]?(?:reply|response|antwort|répondeur)?\b\s*[:)]"
    r"|auto(?:matic)?[ -]?(?:reply|response)|automatische antwort|out[ -]of[ -](?:the[ -])?office|abwesenheit"
    r"|réponse automatique|absence du bureau|respuesta automática|risposta automatica|vacation|on holiday"
    r"|I am away|away from)",
    re.I,
)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver|delivery (?:status notification|failure|has failed|report|problem|error)|mail delivery (?:fail|system)"
    r"|returned (?:mail|to sender|message)|failure notice|non[- ]?remis|unzustellbar|nicht zugestellt|rejected mail"
    r"|message (?:not delivered|could not be delivered|undeliverable)|could not (?:be delivered|deliver)|nondeliverable"
    r"|delivery notification|mail system error|warning: could not send|DELIVERY FAILURE|não entregue|no entregado",
    re.I,
)
_SERVER = re.compile(r"mailer-?daemon|postmaster|mail delivery (?:sub)?system|\bmdaemon\b|mail-?administrator", re.I)


def _is_automatic(headers: Headers) -> bool:
    """RFC 3834, and what came before it. `auto-generated` is what bounces call themselves, so it says nothing."""
    submitted = headers.get("auto-submitted").lower()
    return (
        submitted.startswith("auto-replied")
        or headers.get("precedence").lower() in ("auto_reply", "auto-reply")
        or any(headers.get(name) for name in ("x-autoreply", "x-autorespond", "x-auto-reply", "x-autoresponder"))
        or bool(_AUTO_SUBJECT.search(headers.get("subject")))
    )


def _is_from_a_server(headers: Headers) -> bool:
    return (
        headers.get("return-path").strip() in ("<>", "<MAILER-DAEMON>")
        or bool(headers.get("x-failed-recipients"))
        or bool(_SERVER.search(headers.get("from")))
    )


def human_text(parts: list[Part]) -> str:
    """The server's own words: the first text, up to the returned mail."""
    texts = [part for part in parts if _TEXT.match(part.type)]
    if not texts:
        return ""
    first = next((part for part in texts if part.type == "text/plain"), texts[0])
    text = first.text
    if first.type == "text/html":
        text = re.sub(r"<style.{0,20000}?</style>|<[^<>]{0,2000}>", " ", text, flags=re.S | re.I)
    below = _RETURNED_BELOW.search(text)
    return (text[: below.start()] if below and below.start() > 40 else text)[: 2 * MAX_TEXT]


def _delivery_status(parts: list[Part]) -> tuple[Reported, ...]:
    texts = [part.text for part in parts if part.type in _STATUS_TYPES]
    if not texts:  # the fields without the type: a report that lost its MIME
        texts = [part.text for part in parts if _TEXT.match(part.type) and len(_FIELDS.findall(part.text)) >= 2]
    found: list[Reported] = []
    for text in texts:
        for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
            found += _blocks(parse_headers(block))
    return tuple(found[:MAX_RECIPIENTS])


def _blocks(headers: Headers) -> list[Reported]:
    """One recipient a block; where the blank lines were lost, each Final-Recipient begins the next one."""
    groups: list[list[tuple[str, str]]] = [[]]
    for name, value in headers.items:
        if name == "final-recipient" and any(key == "final-recipient" for key, _ in groups[-1]):
            groups.append([])
        groups[-1].append((name, value))
    blocks = [Headers(tuple(group)) for group in groups[:MAX_RECIPIENTS]]
    per_recipient = ("final-recipient", "action", "status", "diagnostic-code")
    return [_reported(block) for block in blocks if sum(bool(block.get(name)) for name in per_recipient) >= 2]


def _reported(block: Headers) -> Reported:
    diagnostic = _untyped(block.get("diagnostic-code"))
    status = _ENHANCED.search(block.get("status"))
    enhanced = status[1] if status else None
    inside = _ENHANCED.search(diagnostic)
    if inside and (enhanced is None or enhanced.endswith(".0.0")):
        enhanced = inside[1]  # 5.0.0 says nothing; the server's own reply often says more
    reply = _REPLY.search(diagnostic)
    address = _ADDRESS.search(block.get("original-recipient")) or _ADDRESS.search(block.get("final-recipient"))
    action = block.get("action").strip().lower().split(" ")[0].split("(")[0]
    return Reported(
        address[0] if address else None,
        action or ("delivered" if (enhanced or "").startswith("2") else "failed"),
        int(reply[1]) if reply else None,
        enhanced,
        diagnostic[:MAX_TEXT],
        _untyped(block.get("remote-mta")).partition(" ")[0] or None,
    )


def _untyped(value: str) -> str:
    """`smtp; 550 no` → `550 no`."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon and re.fullmatch(r"\s*[\w.-]{1,30}\s*", kind) else value.strip()


def _from_text(root: Part, human: str) -> tuple[Reported, ...]:
    named = _ADDRESS.findall(root.headers.get("x-failed-recipients"))[:MAX_RECIPIENTS]
    code, enhanced = codes_in(human)
    mentioned = _ADDRESS.search(human)
    address = named[0] if named else (mentioned[0] if mentioned else None)
    return (Reported(address, "failed", code, enhanced, human[:MAX_TEXT]),)


def codes_in(text: str) -> tuple[int | None, str | None]:
    """The first SMTP reply code and the first enhanced code in a text."""
    reply, enhanced = _REPLY.search(text), _ENHANCED.search(text)
    return (int(reply[1]) if reply else None), (enhanced[1] if enhanced else None)


def _feedback(parts: list[Part]) -> Headers:
    for part in parts:
        if part.type == "message/feedback-report":
            return parse_headers(part.text)
    return Headers(())


def _returned_headers(parts: list[Part], root: Part) -> Headers:
    for part in parts:
        if _RETURNED.match(part.type) and part is not root:
            return split_message(part.text.encode())[0]
    return Headers(())


def _candidates(root: Part, returned: Headers, feedback: Headers) -> tuple[str, ...]:
    """Addresses in which our signed VERP may stand, the more trustworthy place first."""
    places = [
        *(value for name in ("to", "delivered-to", "x-original-to") for value in root.headers.all(name)),
        *(value for name in ("return-path", "errors-to", "sender") for value in returned.all(name)),
        feedback.get("original-mail-from"),
    ]
    found = (match for place in places for match in _ADDRESS.findall(place[:2_000]))
    return tuple(dict.fromkeys(found))[:20]
