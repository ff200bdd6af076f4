"""Owns what programs put around a server's reply: only the reply itself says why a mail was refused.

.NET calls every 550 "Mailbox unavailable", JavaMail calls every refused recipient "Invalid Addresses", nodemailer says
"rejected", and a line of a log has a code of its own. Such words would be read as the server's.
"""

import re

from services.bounce.domain.signs import Signed

# Cisco's gateways put their own class before the server's words: 5.1.0 - Unknown address error 552-'too large'
_CLASS = re.compile(r"\b[45]\.\d\.\d - [A-Z][\w ()/-]{3,60}?[ (]'?([45]\d\d)(?:-'|', \[')(.{4,})'", re.DOTALL)
# Exchange: <mx.x.example #5.1.1 smtp; 550 5.1.1 no such user>
_IN_BRACKETS = re.compile(
    r"< ?[^\s<>]{0,255} ?#[\d.]{5,11} smtp; ?([245]\d\d[ -].{1,3000})>", re.DOTALL | re.IGNORECASE
)
# a line of Postfix's log, and of Exim's
_IN_LOG = Signed(
    ("status=", " t="),
    re.compile(
        r"\bstatus=[a-z]{4,20} \((.{4,4000})\)|(?:\*\*|==) [^\n]{3,400}? T=[^\s:]{1,64}"
        r"(?: H=[^\s:]{1,255} \[[\da-f.:]{3,45}\])?(?: defer \([^)\n]{1,60}\))?: (.{4,4000})",
        re.DOTALL | re.IGNORECASE,
    ),
)
# Python's smtplib: {'kim@x.example': (550, b'5.1.1 no such user')}
_AS_PAIR = re.compile(r"""\(([45]\d\d), b?(['"])(.{1,3000}?)\2[,)]""", re.DOTALL)
# what mail libraries and gateways write before the reply
_LEADS = Signed(
    (
        *("response was", "smtp", "rejected:", "failed:", "send email", "with message"),
        *(" said", " says", "responded", "returned", "replied", "answered"),
    ),
    re.compile(
        r"(?:\bserver response was: {0,4}(?=\S)"
        r"|(?:\bSMTP[a-z]{0,30}(?:Exception|Error|Busy):|\brecipients were rejected:"
        r"|\brecipients failed: [^\s:]{3,320}:|\bupstream [^\n:]{1,100} rejected:"
        r"|\b(?:rcpt to|recipient|data) command failed:|\bmessage failed:"
        r"|\bcould not send email \d{1,3}:|\bgot code \"?\d{3}\"?, with message"
        r"|\b(?P<verb>said|says|responded|responded with|returned|replied|answered):?)\s{0,8}['\"]?(?=[45]\d\d[ -]))",
        re.IGNORECASE,
    ),
)
# before the reply, or in what is around it; a dozen searches for a word take a fourth of one for an expression
_SIGNS = (
    *(": 5", ": 4", "'5", "'4", '"5', '"4', "(5", "(4", "; 5", "; 4", ";5", ":\n"),
    *("response was:", "status=", " T="),
)
# such words say that the reply is about our address or our host
_ABOUT_US = re.compile(
    r"sender|verif|call(?:back|out)|mail from|mail command|[eh][eh]lo|connecterror|greeting", re.IGNORECASE
)
# the name of a server that its caller wants to know, or a sentence of its own
_KEPT = re.compile(r"[.;]\s|\n|\bhost [^\s\[]{1,255} ?\[", re.IGNORECASE)
_LEAST = 4  # characters
_CODES = frozenset(f"{code}{then}" for code in range(400, 600) for then in " -")


def unwrapped(text: str) -> str:
    """Return only the server's words, if a program has put its own around them; else the text itself."""
    if text[:4] in _CODES:
        if "smtp;" in text and (inside := _IN_BRACKETS.search(text)):
            return inside[1]
    elif _may_be_around(text):
        text = _without_lead(text)
    if " - " in text and "'" in text:
        return without_class(text)
    return text


def _may_be_around(text: str) -> bool:
    for sign in _SIGNS:  # noqa: SIM110 - any() over a generator takes twice as long
        if sign in text:
            return True
    return False


def without_class(text: str) -> str:
    """Return only the server's words, if a gateway has put the name of a class before them."""
    found = _CLASS.search(text)
    return f"{found[1]} {found[2]}" if found else text


def _without_lead(text: str) -> str:
    if found := _IN_LOG.search(text):
        text = found[1] or found[2]
    found = _AS_PAIR.search(text)
    if found and not _ABOUT_US.search(text, 0, found.start()):
        return f"{found[1]} {found[3]}".replace("\\r", "").replace("\\n", " ")
    if found := _IN_BRACKETS.search(text):
        return found[1]
    found = _LEADS.search(text)
    if found is None or _ABOUT_US.search(text, 0, found.end()):
        return text
    if found["verb"] and _KEPT.search(text, 0, found.start()):
        return text  # qmail says before it which command was answered; Postfix, which server
    rest = text[found.end() :].strip().rstrip("'\"")
    return rest if len(rest) >= _LEAST else text
