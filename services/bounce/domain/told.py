"""Owns the reading of reports that have no fields: what the server's sentences say about each recipient.

Half of all bounces come so: qmail, Exim, Postfix with its fields lost, OpenSMTPD, sendmail's transcripts, Courier,
Exchange, Domino, Gmail, Yahoo, Zoho, GMX. They agree on one habit: a line that begins with the address, and below or
behind it what was answered.
"""

import re

import msgspec

from services.bounce.domain.signs import Signed

MAX_TOLD = 100
MAX_TEXT = 4_000

ADDRESS = r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}"
# an address that opens a line: alone, or before a colon, or before what its server says of it
_OPENS = re.compile(
    rf"^[ \t>*•]{{0,12}}(?:recipient(?: address)?:[ \t]*)?[\"'«]?<?(?P<address>{ADDRESS})>?[\"'»]?"
    rf"(?:[ \t]*[<(]{ADDRESS}[>)])?(?:[ \t]+on \d[^\n]{{0,30}})?[ \t]*"
    r"(?P<rest>$|:.*$|\.\.\..*$|\((?:reason|expanded|generated).*$|(?:Invalid Address|Error|Mailbox|not |is ).*$)",
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
# Cisco's gateways put a class of their own before the server's words: 5.1.0 - Unknown address error 552-'too large'
_CLASS = re.compile(r"\b[45]\.\d\.\d - [A-Z][\w ()/-]{3,60}?[ (]'?([45]\d\d)(?:-'|', \[')(.{4,})'", re.DOTALL)
_HOST = re.compile(
    r"\bhost:?\s{1,4}([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})\.?\s{0,3}[\[(\n]|while talking to ([\w.-]{3,255}?)\.?:"
    r"|(?:domain|by) ([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})\.? \[[\da-f.:]{3,45}\]",
    re.IGNORECASE,
)
# Postfix's notice to its postmaster: only what its own side refused
_OUT = re.compile(r"^ {0,3}Out: ([45]\d\d[ -].{0,500})$", re.MULTILINE)
# what stands before a code is looked at after its first digit, so that the search runs from digit to digit
_REPLY = re.compile(r"[45](?<![\d.].)(?:\d\d[ -](?!\d)|\.\d{1,3}\.\d{1,3}(?!\.?\d))")
_STILL_TRIED = Signed(
    (
        *("not yet been", "been delayed", "tried", "attempts will", "still ", "warning message", "will retry"),
        *("need to resend", " versucht"),
    ),
    re.compile(
        r"not yet been delivered|has been delayed|will (?:continue to )?be (?:re)?tried|delivery attempts will continue"
        r"|(?:is|are) still (?:being )?tr(?:ied|ying)|warning message only"
        r"|gmail will retry|(?:do not|don't) need to resend|wird (?:weiter|erneut) versucht",
        re.IGNORECASE,
    ),
)
_GIVEN_UP = re.compile(r"permanent|giv(?:en|ing) up|gave up|could not be delivered|failed to deliver", re.IGNORECASE)
# old sendmails list nobody above the transcript, and end there what they say of each recipient with its address
_TRANSCRIPT = "Transcript of session follows"
_ENDS = re.compile(rf"^[45]\d\d (?:[45]\.\d\.\d )?<(?P<address>{ADDRESS})>\.\.\. [^\n]*(?:\n|\Z)", re.MULTILINE)
_AFTER_DATA = re.compile(r">>> DATA\s{1,4}<<< 5\d\d")
# sendmail pipelines: it prints `>>> DATA` above what RCPT was answered, and then these below
_RCPT_REFUSED = re.compile(
    r"<<< 503|need rcpt|no valid recipients|^5\d\d 5\.\d\.\d <?[^\s>]{1,320}>?\.\.\. ", re.I | re.M
)


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the sentences say about one address; without one where none is named."""

    address: str | None
    text: str

    @property
    def host(self) -> str | None:
        found = _HOST.search(self.text)
        return next((name for name in found.groups() if name), None) if found else None


def told_by(human: str) -> list[Told]:
    """What a text says, recipient by recipient, in its order; one entry about nobody where it names none."""
    refused = _OUT.findall(human) if human.lstrip().startswith(_TRANSCRIPT) else None
    if refused:
        return [Told(None, "\n".join(refused)[:MAX_TEXT])]
    opens = _openings(human)
    if not opens:
        return [Told(None, without_prose(human))]
    ends = [found.start() for found in opens[1:]] + [len(human)]
    told = []
    for found, end in zip(opens, ends, strict=True):
        text = found["rest"].lstrip(":. \t") + human[found.end() : end]
        told.append(Told(found["address"], without_prose(text.strip())))
    return _shared(told, human[: opens[0].start()], human)[:MAX_TOLD]


def transcribed(human: str) -> list[Told]:
    """What a transcript says of each recipient; nothing where it is about one alone, or where lines open with them."""
    ends = list(_ENDS.finditer(human)) if _TRANSCRIPT in human and not _openings(human) else []
    if len({found["address"].lower() for found in ends}) < 2:
        return []
    begins = [0, *(found.end() for found in ends)]
    return [
        Told(found["address"], human[begin : found.end()].strip()[-MAX_TEXT:])
        for begin, found in zip(begins, ends, strict=False)
    ][:MAX_TOLD]


def _openings(human: str) -> list[re.Match[str]]:
    """The lines that open a recipient's section; a reply that repeats the address opens none."""
    opens: list[re.Match[str]] = []
    at = human.find("@")
    while at >= 0 and len(opens) < MAX_TOLD:  # only lines that hold an address are looked at
        found = _OPENS.match(human, human.rfind("\n", 0, at) + 1)
        end = human.find("\n", at)
        at = human.find("@", end) if end >= 0 else -1
        if found is None:
            continue
        if not opens or opens[-1]["address"].lower() != found["address"].lower():
            opens.append(found)
        elif not opens[-1]["rest"] and not human[opens[-1].end() : found.start()].strip():
            opens[-1] = found
    return opens


def _shared(told: list[Told], intro: str, human: str) -> list[Told]:
    """Addresses listed one below the other: what follows is about all, but for lines that name one of them.

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
    """The other server's reply, where the report hands it on behind sentences of its own."""
    ends = [found.end() for found in _PROSE.finditer(text)]
    rest = text[ends[-1] :] if ends else ""
    return without_class(rest if len(rest.strip()) > 8 else text)[:MAX_TEXT]


def without_class(text: str) -> str:
    """The server's words alone, where a gateway has put the name of a class before them."""
    found = _CLASS.search(text) if " - " in text and "'" in text else None
    return f"{found[1]} {found[2]}" if found else text


def is_still_tried(human: str) -> bool:
    """Whether the sentences only warn that a mail is late; one that says both has given up."""
    return bool(_STILL_TRIED.search(human)) and not _GIVEN_UP.search(human)


def stage_of(human: str) -> str | None:
    """`data` where a transcript shows that the mail itself was refused, not its recipient."""
    if ">>> DATA" in human and _AFTER_DATA.search(human) and not _RCPT_REFUSED.search(human):
        return "data"
    return None
