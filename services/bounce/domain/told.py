"""Owns reading reports without fields: what the server's sentences say about each recipient.

Half of all bounces look so: qmail, Exim, Postfix with its fields lost, OpenSMTPD, sendmail's transcripts, Courier,
Exchange, Domino, Gmail, Yahoo, Zoho, GMX. They share one habit: a line that begins with the address, and below or after
it the reply.
"""

import re

import msgspec

from services.bounce.domain.signs import Signed
from services.bounce.domain.wrapped import unwrapped

MAX_TOLD = 100
MAX_TEXT = 4_000

ADDRESS = r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}"
# an address that begins a line: alone, or before a colon, or before what its server says about it. Some servers put the
# reason before it (IMail), Exchange the whole X.400 address
_OPENS = re.compile(
    r"^[ \t>*•]{0,12}(?:(?:failed |intended |original )?recipient(?: address)?:[ \t]*|c=[^\n@]{0,120}SMTP="
    r"|[^\W\d][^\n<@:]{0,60} (?=<[^\s<>]{3,320}> on [\dA-Z])"
    r"|(?P<reason>(?:unknown (?:user|host)|undeliverable to|user mailbox exceeds allowed size"
    r"|invalid final delivery userid|delivery failed \d{1,3} attempts)):?[ \t]+)?"
    rf"(?:[\"'«]?<?|\[SMTP:)(?P<address>{ADDRESS})(?:>?[\"'»]?|\])"
    rf"(?:[ \t]*[<(]{ADDRESS}[>)])?;?(?:[ \t]+on (?:\d|[A-Z][a-z]{{2}}, \d)[^\n]{{0,40}})?[ \t]*"
    r"(?P<rest>$|:.*$|\.\.\..*$|\(.*$|(?:Invalid Address|Error|Mailbox|failed|not |is ).*$)",
    re.IGNORECASE | re.MULTILINE,
)
# where prose ends and the other server's own reply begins
_PROSE = Signed(
    (
        *("other server", "response", "this error", "server returned", "responded", "réponse", "antwort"),
        *("respuesta", "risposta"),
    ),
    re.compile(
        r"(?:error that the other server returned was|the response (?:from the remote server )?was"
        r"|gave this error|remote server returned|server responded with|réponse (?:du serveur distant )?était"
        r"|die antwort (?:des (?:anderen|remote)[ -]?servers )?lautete?|la respuesta (?:del servidor remoto )?fue"
        r"|la risposta (?:del server remoto )?(?:è stata|era))\s{0,4}:?\s{0,6}",
        re.IGNORECASE,
    ),
)
_HOST = re.compile(
    r"\bhost:?\s{1,4}([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})\.?\s{0,3}[\[(\n]|while talking to ([\w.-]{3,255}?)\.?:"
    r"|(?:domain|by) ([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})\.? \[[\da-f.:]{3,45}\]",
    re.IGNORECASE,
)
# how Postfix, Exim, qmail and Gmail name the server whose reply follows: none of its words
_WHO_SAID = re.compile(
    r"(?<!client )(?<!your )\bhost\s{1,8}[\w.-]{1,255}\s{0,8}\[[\da-f.:]{3,45}\](?::\d{1,5})?"
    r"(?:\s{1,8}said:|:(?=\s)|(?=\n))\s{0,8}"
    r"|\b(?:the response from the )?remote (?:host|server) (?:said|was):\s{0,8}"
    r"|\bSMTP error from remote (?:mail server|mailer) (?:after RCPT TO:<[^<>\s]{1,320}>:\s{0,8}|(?=after))",
    re.IGNORECASE,
)
# a whole session, as MDaemon and mail programs print it: replies before the refusal say nothing
_GREETS = Signed(("ehlo ", "helo "), re.compile(r"^[ \t<>=-]{0,12}(?:EHLO|HELO) ", re.I | re.M))
_ANSWERED = re.compile(r"^[ \t<>=-]{0,12}([45]\d\d[ -][^\n]{1,500})", re.M)
# Postfix's notice to its postmaster: only what Postfix itself refused
_OUT = re.compile(r"^ {0,3}Out: ([45]\d\d[ -].{0,500})$", re.MULTILINE)
# the lookbehind follows the first digit of a code, so that the search runs from digit to digit
_REPLY = re.compile(r"[45](?<![\d.].)(?:\d\d[ -](?!\d)|\.\d{1,3}\.\d{1,3}(?!\.?\d))")
_SENT_BY = re.compile(r"\bsent by\s{1,8}$", re.IGNORECASE)
# old sendmails list no recipients above the transcript, and end there each reply about one with its address
_TRANSCRIPT = "Transcript of session follows"
_ENDS = re.compile(rf"^[45]\d\d (?:[45]\.\d\.\d )?<(?P<address>{ADDRESS})>\.\.\. [^\n]*(?:\n|\Z)", re.MULTILINE)
_AFTER_DATA = re.compile(r">>> DATA\s{1,4}<<< 5\d\d")
# sendmail pipelines: it prints `>>> DATA` above the answers to RCPT, and then these below
_RCPT_REFUSED = re.compile(
    r"<<< 503|need rcpt|no valid recipients|^5\d\d 5\.\d\.\d <?[^\s>]{1,320}>?\.\.\. ", re.I | re.M
)


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the sentences say about one address; without an address if they name none."""

    address: str | None
    text: str

    @property
    def host(self) -> str | None:
        return host_in(self.text)

    @property
    def words(self) -> str:
        """The server's own, without the name that another one put before them."""
        return without_host(self.text)


def told_by(human: str) -> list[Told]:
    """Return what a text says about each recipient, in order; one entry without an address if it names none."""
    refused = _OUT.findall(human) if human.lstrip().startswith(_TRANSCRIPT) else None
    if refused:
        return [Told(None, "\n".join(refused)[:MAX_TEXT])]
    opens = _openings(human)
    if not opens:
        return [Told(None, without_prose(human))]
    ends = [found.start() for found in opens[1:]] + [len(human)]
    told = []
    for found, end in zip(opens, ends, strict=True):
        rest = found["rest"].lstrip(":. \t") + human[found.end() : end]
        text = f"{found['reason']}\n{rest}" if found["reason"] else rest
        told.append(Told(found["address"], without_prose(text.strip())))
    return _shared(_joined(told), human[: opens[0].start()], human)[:MAX_TOLD]


def _joined(told: list[Told]) -> list[Told]:
    """Join what is said about one address in several places: some list all addresses first, and the replies below."""
    texts: dict[str, list[str]] = {}
    for one in told:
        texts.setdefault((one.address or "").lower(), []).append(one.text)
    if len(texts) == len(told):
        return told
    first = {(one.address or "").lower(): one.address for one in reversed(told)}
    return [Told(first[key], "\n".join(filter(None, some))) for key, some in texts.items()]


def transcribed(human: str) -> list[Told]:
    """Return what a transcript says about each recipient; nothing if it is about only one, or lines begin with them."""
    ends = list(_ENDS.finditer(human)) if _TRANSCRIPT in human and not _openings(human) else []
    if len({found["address"].lower() for found in ends}) < 2:
        return []
    begins = [0, *(found.end() for found in ends)]
    return [
        Told(found["address"], human[begin : found.end()].strip()[-MAX_TEXT:])
        for begin, found in zip(begins, ends, strict=False)
    ][:MAX_TOLD]


def _openings(human: str) -> list[re.Match[str]]:
    """Return the lines that open a recipient's section; a reply that repeats the address opens none."""
    opens: list[re.Match[str]] = []
    at = human.find("@")
    while at >= 0 and len(opens) < MAX_TOLD:  # only lines that contain an address are tried
        found = _OPENS.match(human, human.rfind("\n", 0, at) + 1)
        end = human.find("\n", at)
        at = human.find("@", end) if end >= 0 else -1
        if found is None or _SENT_BY.search(human, max(0, found.start() - 20), found.start()):
            continue
        if opens and _indent(found) > _indent(opens[0]):
            continue  # a reply goes on in the next line
        if not opens or opens[-1]["address"].lower() != found["address"].lower():
            opens.append(found)
        elif not opens[-1]["rest"] and not human[opens[-1].end() : found.start()].strip():
            opens[-1] = found
    return opens


def _indent(found: re.Match[str]) -> int:
    line = found[0]
    return len(line) - len(line.lstrip(" \t"))


def _shared(told: list[Told], intro: str, human: str) -> list[Told]:
    """Handle addresses listed one below the other: what follows is about all, except lines that name one of them.

    Some servers give the reason first and the list of addresses below it.
    """
    kept: list[Told] = []
    last = told[-1].text
    if _REPLY.search(intro) and not any(_REPLY.search(one.text) for one in told):
        return [Told(one.address, intro[-MAX_TEXT:]) for one in told]
    for one in told:
        text = one.text
        if not text and one.address:
            named = [line for line in last.split("\n") if one.address.lower() in line.lower()]
            text = "\n".join(named) or last or human
        kept.append(Told(one.address, text[:MAX_TEXT]))
    return kept


def without_prose(text: str) -> str:
    """Return the other server's reply, if the report passes it on after sentences of its own."""
    ends = [found.end() for found in _PROSE.finditer(text)]
    rest = text[ends[-1] :] if ends else _refused_in(text)
    return unwrapped(rest if len(rest.strip()) > 8 else text)[:MAX_TEXT]


def _refused_in(text: str) -> str:
    """Return the refusals of a session that is printed whole; empty if there is none."""
    return "\n".join(_ANSWERED.findall(text)) if _GREETS.search(text) else ""


def host_in(text: str) -> str | None:
    """Return the name of the server that gave the reply."""
    found = _HOST.search(text)
    return next((name for name in found.groups() if name), None) if found else None


def without_host(text: str) -> str:
    """Return a reply without the name of the server that gave it: `host` and `blocked` in one line mean a block."""
    named = "emote " in text or ("host" in text and "[" in text)
    return _WHO_SAID.sub("", text, count=2) if named else text


def stage_of(human: str) -> str | None:
    """Return `data` if a transcript shows that the mail itself was refused, not its recipient."""
    if ">>> DATA" in human and _AFTER_DATA.search(human) and not _RCPT_REFUSED.search(human):
        return "data"
    return None
