"""Owns which words of a mail are the server's own: its first texts, as plain text, up to the mail that it returns."""

import html
import re
from collections.abc import Sequence

from services.bounce.domain.mime import Part
from services.bounce.domain.signs import Signed
from services.bounce.domain.status import STATUS_TYPES

MAX_TEXT = 8_000
MOST_TEXTS = 3

# where servers without MIME put the returned mail below their own words
_RETURNED_BELOW = Signed(
    (
        *("copy of", "is a copy", "original", "returned m", "unsent message", "text follows", "ursprüngliche"),
        *("nachricht", "message d'origine", "header", "---", "received:", "return-path:"),
    ),
    re.compile(
        r"[ >]{0,2}(?:received|return-path):"
        r"|(?:[ \t>|=*#_~+-]{1,80}+|.{0,12}?)(?:this is a copy of (?:the|your) message"
        r"|below (?:this line )?is a copy of the (?:original )?message"
        r"|original message(?! was received)|returned message|message header(?:s)? follow|unsent message"
        r"|headers? of the (?:original |source )?(?:message|mail)|the header of the original"
        r"|attachment is a copy|(?:start of )?returned mail|message text follows"
        r"|(?:ursprüngliche|original-)\s?nachricht|message d'origine|mensaje original"
        r"|enclosed is a copy|copy of (?:the|your) (?:original )?message|-{3,}\s?original|original mail as follows)",
        re.I,
    ),
)
_FIRST_WORDS = 40  # characters in which no returned mail begins
_TAGS = re.compile(r"<[a-z/!][^<>]{0,2000}>", re.I)
_SILENT = re.compile(r"<(/?)(?:style|script)\b", re.I)
_WITHIN = re.compile(r"<wbr ?/?>|&shy;", re.I)  # where a long word, as an address is, may be broken
_BREAKS = re.compile(r"<(?:br|/p|/div|/tr|/td|/h\d|/li)[^<>]{0,200}>", re.I)
# lines of a log begin with the time: MDaemon prints its session so
_STAMPS = re.compile(r"^(?:[A-Z][a-z]{2} )?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?: ", re.M)
# headers at the beginning of a text: the returned mail, in a part that does not say so
_MESSAGE = re.compile(
    r"\s{0,20}(?:[\w-]{1,60}:[^\n]{0,1000}\n(?:[ \t][^\n]{0,1000}\n){0,20}){0,30}?"
    r"(?:from|received|return-path|message-id|subject):[^\n]{0,1000}\n(?:[ \t][^\n]{0,1000}\n){0,20}[\w-]{1,60}:[ \t]",
    re.I,
)
# headers of our own mail, as Exchange, Domino, hMailServer and Oracle quote them: its subject may say anything, its
# Message-ID looks like an address
_OURS = Signed(
    (
        *("message-id", "mime-version", "content-type"),
        *("subject", "betreff", "objet", "asunto", "oggetto", "assunto", "onderwerp", "ämne", "emne", "temat"),
        *("předmět", "konu", "тема", "件名", "主题", "主題", "제목"),
    ),
    re.compile(
        r"^[ \t]{0,12}(?:(?:message-id|mime-version|content-type):[^\n]*"
        r"(?:\n[ \t]{1,40}(?:boundary|charset)=[^\n]*)?\n?"
        r"|(?:subject|betreff|objet|asunto|oggetto|assunto|onderwerp|ämne|emne|temat|předmět|konu|тема"
        r"|件名|主题|主題|제목)[ \t]{0,6}[::][^\n]*\n?)",
        re.I | re.M,
    ),
)
_HARM = r"(?:virus|malware|malicious|dangerous content)\w{0,2}"
_SOME = r"(?:[a-z,-]{1,12} )"  # words before it, as in `any spam, spyware or`
# what scanners and lawyers put below any mail names viruses too
_HARMLESS = Signed(
    ("virus", "vírus", "malware", "malicious", "dangerous"),
    re.compile(
        (
            rf"\b(?:scan|check|test|screen)\w{{0,4}} (?:[a-z,-]{{1,20}} ){{0,8}}?(?:for|against) {_SOME}{{0,4}}{_HARM}"
            rf"|\bno {_SOME}{{0,2}}{_HARM} (?:\w{{2,4}} (?:been )?)?(?:found|detected)"
            r"|(?<!not\s)(?<!n't\s)\b(?:virus|malware)[\s-]?free\b"
            rf"|(?<!not\s)(?<!n't\s)\bfree (?:of|from) {_SOME}{{0,3}}{_HARM}"
            rf"|\b(?:liab|responsib)\w{{2,6}} [^.]{{0,80}}?{_HARM}|, or contain virus\w{{0,2}}"
            r"|\b(?:sans|libre de|privo di|livre de|en busca de) v[ií]rus"
        ).replace(" ", r"\s{1,3}"),  # lines may break anywhere
        re.I,
    ),
)
_QUOTE = re.compile(r"^>(?!>)[^\n]*\n?", re.M)
_REPLY = re.compile(r"(?<![\d.])[45](?:\d\d[ -]|\.\d{1,3}\.\d{1,3})")
_REFUSES = re.compile(r"reject|refus|block|undeliver|not deliver", re.I)


def human_text(parts: Sequence[Part]) -> str:
    """Return the server's own words: the first text, up to the returned mail."""
    first = next((part for part in parts if part.type == "text/plain"), None)
    if first is None or not first.body.strip():
        first = next((part for part in parts if part.type == "text/html"), first)
    if first is None:
        first = next((part for part in parts if part.type not in STATUS_TYPES and _may_be_text(part)), None)
    if first is None:
        return ""
    if first.type == "text/plain":  # some put the greeting into one part, and what happened into the next
        texts = [part.text for part in parts if part.type == "text/plain"][:MOST_TEXTS]
        texts[1:] = [text for text in texts[1:] if not _MESSAGE.match(text)]
        text = "\n\n".join(texts)[: 4 * MAX_TEXT]
    else:
        text = first.text[: 4 * MAX_TEXT]
    if first.type == "text/html" or text[:200].lstrip().lower().startswith(("<html", "<!doctype")):
        text = html.unescape(_TAGS.sub(" ", _BREAKS.sub("\n", _WITHIN.sub("", _without_silent(text)))))
    text = text.replace("\r\n", "\n")
    if "<-- " in text or "<<< " in text:
        text = _STAMPS.sub("", text)
    text = text[: min(_copy_in(text), MAX_TEXT)]
    return _without_quotes(_OURS.without(_HARMLESS.without(text)))


def _without_quotes(text: str) -> str:
    """Remove what the server quotes of our mail; if it quotes a reply, or says nothing else, all of it stays."""
    if "\n>" not in text or any(_REPLY.search(quote) for quote in _QUOTE.findall(text)):
        return text
    own = _QUOTE.sub("", text)
    return own if _REPLY.search(own) or _REFUSES.search(own) else text


def _copy_in(text: str) -> int:
    """Return where the returned mail begins; the end if there is none."""
    begins = (begin for begin in _RETURNED_BELOW.lines_of(text) if begin > _FIRST_WORDS)
    return next((begin for begin in begins if _RETURNED_BELOW.expression.match(text, begin)), len(text))


def _without_silent(text: str) -> str:
    """Remove style sheets and scripts; an unclosed one takes the rest with it."""
    kept, begin, silent = [], 0, False
    for found in _SILENT.finditer(text):
        if not silent and not found[1]:
            kept.append(text[begin : found.start()])
            silent = True
        elif silent and found[1]:
            begin, silent = found.start(), False
    return "".join(kept) + ("" if silent else text[begin:])


def _may_be_text(part: Part) -> bool:
    """Whether it is a multipart that lost its boundaries, or a part of an unknown type."""
    return part.type.startswith(("multipart/", "text/")) or "/" not in part.type
