"""Owns what kind of answer a mail is: a bounce, a complaint, an out-of-office reply, or none that we read."""

import re
from enum import StrEnum
from typing import Protocol

from services.bounce.domain.mime import Headers
from services.bounce.domain.reading import Mail
from services.bounce.domain.signs import Signed

_JMRP = Signed(
    ("abuse ", "spam ", "complaint about"),
    re.compile(r"(?:abuse|spam) (?:report|complaint)|complaint about (?:a )?message from", re.I),
)
_AUTH_FEEDBACK = frozenset({"auth-failure", "dmarc"})
_DMARC_SUBJECT = re.compile(r"report[- ]domain:|\bdmarc (?:aggregate )?report\b", re.I)
# RFC 7489, 7.2.1.1: receiver!domain!begin!end
_DMARC_FILE = re.compile(
    rb"name=\"?[^\s\"!;]{1,255}![^\s\"!;]{1,255}!\d{9,10}!\d{9,10}[^\s\"!;]{0,80}\.(?:xml|zip|gz)", re.I
)
_NAMED_WITHIN = 16 * 1024  # bytes
_CHALLENGE = Signed(
    (
        *("click", "reply", "respond", "follow", "challenge", "verify", "confirm", "prove ", "boxbe", "spamarrest"),
        *("approved", "antispam uol", "bluebottle", "mailblocks", "cliqu", "clic ", "clicca", "klicken"),
        *("to release", "held because", "waitlisted", "guest list", "choicemail", "tmda", "protecting myself", "form"),
        *("bestätigen", "kliknij", "klik ", "подтверд", "認証", "认证", "验证", "驗證", "verification process"),
    ),
    re.compile(
        r"(?:click|reply|respond|follow)[^.]{0,80}(?:to (?:confirm|verify|prove)|so that your (?:message|mail))"
        r"[^.]{0,60}(?:you are|human|deliver|sender|your (?:message|mail|e-?mail))|challenge[- ]response"
        r"|(?:verify|confirm|prove) (?:yourself|that you are) (?:as )?(?:a )?(?:human|the sender|real)|boxbe|spamarrest"
        r"|(?:list of approved senders|senders i have approved|approved senders? list)[^.]{0,80}"
        r"(?:request|form|beforehand|click|reply)|senders i have approved|antispam uol|bluebottle|mailblocks"
        r"|clique[^.]{0,80}confirmar|confirmar[^.]{0,60}clique"
        r"|cliqu(?:er|ez)[^.]{0,80}(?:confirmer|valider|authentifier)|(?:haga|haz|hacer) clic[^.]{0,80}confirmar"
        r"|klicken sie[^.]{0,80}(?:damit ihre|um zu bestätigen|zu bestätigen, dass)"
        r"|(?:clicca|cliccare)[^.]{0,80}confermare"
        r"|to release your (?:message|mail|e-?mail)[^.]{0,60}(?:reply|send|click|visit)"
        r"|being held because (?:the|your) ad"
        r"|\bwaitlisted\b|guest list so (?:that )?your|\bchoicemail\b|\btmda\b|protecting myself from"
        r"|verification process"
        r"|form[^.]{0,20}(?:\.[^.\s][^.]{0,60}){0,3}your (?:message|mail|e-?mail) will be delivered"
        r"|bestätigen sie[^.]{0,80}(?:antworten|klick|link)|kliknij[^.]{0,60}potwierd|klik [^.]{0,60}bevestig"
        r"|подтвердите[^.]{0,60}(?:отправител|письм|ссылк)|(?:нажмите|перейдите)[^.]{0,60}подтверд"
        r"|クリック[^。]{0,20}認証|认证[^。]{0,30}点击|点击[^。]{0,30}验证|點擊[^。]{0,30}驗證",
        re.I,
    ),
)
_AUTO_SUBJECT = re.compile(
    r"^\s*(?:(?:re|aw|fwd?):\s*)?(?:auto(?:matic|mated|matische)?[ -]?(?:reply|response|antwort|répondeur)?\b\s*[:)]"
    r"|auto(?:matic)?[ -]?(?:reply|response)|automatische antwort|out[ -]of[ -](?:the[ -])?office|abwesen"
    r"|réponse automatique|absence du bureau|absent|respuesta automática|fuera de (?:la )?oficina"
    r"|risposta automatica|fuori ufficio|resposta automática|ausência|automatisch antwoord|afwezig"
    r"|autosvar|automatisk svar|frånvaro|fravær|automaattinen|poissaolo|autoodpowiedź|automatyczna odpowiedź"
    r"|odpowiedź automatyczna"
    r"|nieobecno|automatická odpověď|nepřítomn|automatikus válasz|otomatik (?:yanıt|cevap)|ofis dışı"
    r"|răspuns automat|automat(?:ski|ická|ikus) odpove?[dď]|automatski odgovor|samodejni odgovor|automatické odpov"
    r"|automaatvastus|automatinis atsakymas|automātiska atbilde|resposta automàtica|balasan otomatis|trả lời tự động"
    r"|автоответ|автоматический ответ|автоматична відповідь|автоматичен отговор|αυτόματη απάντηση"
    r"|رد تلقائي|מענה אוטומטי|תשובה אוטומטית|ตอบกลับอัตโนมัติ"
    r"|自動返信|自動応答|不在|自动回复|自動回覆|부재중|자동 ?(?:응답|회신)"
    r"|vacation|on (?:holiday|vacation|leave)|I(?: am|'m) away|away from|i ferie|på semester|lomalla|na urlopie"
    r"|nie ma mnie|en vacances|en congés?|de vacaciones|in ferie|de férias|op vakantie|dovolen[áé]|szabadság"
    r"|în concediu|в отпуске|у відпустці|меня нет|休假|休暇|휴가)",
    re.I,
)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver|delivery (?:status|failure|failed|has failed|report|problem|error|incomplete|delayed|notification)"
    r"|mail delivery (?:fail|system)|mail (?:status|error|failure)|returned (?:mail|to sender|message)|failure notice"
    r"|non[- ]?remis|non délivr|unzustellbar|nicht zugestellt|zustellung|rejected mail|message rejected"
    r"|message (?:not|could not be|status|delayed|undeliverable)|(?:could|can)not (?:be )?deliver"
    r"|could not (?:be delivered|deliver|send)|nondeliverable|non[- ]?deliver|not delivered|error sending your mail"
    r"|delivery notification|mail system error|postfix smtp server: errors|não entregue|no entregado"
    r"|no se pudo entregar|mancato recapito|niet bezorgd"
    r"|配信不能|送信エラー|配信できません|エラーメール|退信|недоставлен|不達",
    re.I,
)
# how people who are away begin, if their program does not mark the reply
_AWAY = re.compile(
    r"\b(?:i am|i'm|we are|i will be|i'll be|is) (?:currently |presently |now )?"
    r"(?:out of (?:the |my )?office|on (?:annual |maternity |parental )?(?:leave|vacation|holiday))"
    r"|\bich bin (?:derzeit |momentan |zur ?zeit |bis [^.\n]{1,40})?(?:nicht im (?:büro|haus)|im urlaub|außer haus)"
    r"|\bi'?a?m (?:currently )?away (?:on|from|until|for)\b"
    r"|\bje suis (?:actuellement )?(?:absente?|en congés?|en vacances)"
    r"|\bestoy (?:fuera de la oficina|de vacaciones|ausente)|\bestou (?:ausente|de férias|fora do escritório)"
    r"|\bsono (?:fuori ufficio|in ferie|assente)|\bik ben (?:momenteel )?(?:afwezig|op vakantie|niet aanwezig)"
    r"|\bjag är (?:på semester|inte på kontoret|bortrest)|\bjeg er (?:på ferie|ikke på kontoret|bortreist)"
    r"|\bolen (?:lomalla|poissa)|\bjestem na urlopie|\bnie ma mnie w biurze|\bjsem (?:na dovolené|mimo kancelář)"
    r"|\bszabadságon vagyok|\bofis dışındayım|\bizindeyim|\bsunt în concediu|я в отпуске|меня нет (?:в офисе|на месте)"
    r"|я у відпустці|απουσιάζω|休假|休暇を|不在に|휴가 중|부재 ?중|בחופשה|خارج المكتب|في إجازة",
    re.I,
)
# other things that are delivered, or fail
_OTHER_FREIGHT = re.compile(r"\b(?:parcel|package|shipment|courier|backup|paket|sendung|colis|paquete|pacco)\b", re.I)
# the whole subject, as written by List-Unsubscribe's mailto and by people
_UNSUBSCRIBE = re.compile(
    r"(?:(?:re|aw|fwd?):\s*)?(?:please\s+)?(?:unsubscribe|remove|opt[- ]?out|abmelden|abmeldung|abbestellen"
    r"|unsubscribe[:=][\w.+/=-]{1,200}|abmeldung (?:vom )?newsletter|newsletter abmelden"
    r"|désabonne(?:r|ment|z-moi)|désinscription|se désinscrire|darse de baja|dar de baja"
    r"|cancelar suscripci[oó]n|disiscrivi(?:mi)?|cancellami"
    r"|afmelden|uitschrijven|avregistrera|afmeld|wypisz|отписаться|配信停止|退订)(?:\s+me)?[.!]*",
    re.I,
)
_SERVER = re.compile(
    r"mailer-?daemon|\bpostmaster\b|mail ?delivery|\bmail system\b|delivery (?:sub)?system|\bmdaemon\b"
    r"|microsoft exchange|microsoftexchange|mail deliver\w+|mail[- ]?admin|bounce[sd]?@",
    re.I,
)
# words of a server that names neither itself nor its report; a person who replies quotes a message of ours
_SAYS_UNDELIVERED = Signed(
    ("deliver", "returned to sender", "@", "mailbox ", "mailing list"),
    re.compile(
        r"(?:could not|cannot|can't|couldn't|was not|were not|has not been|wasn't) (?:be )?delivered"
        r"|delivery (?:has )?failed|(?:unable|failed|not able) to deliver|undeliverable|returned to sender"
        r"|^<[^\s<>@]{1,64}@[^\s<>@]{1,255}>:|mailbox (?:is )?(?:full|over quota)|not a member of this mailing list",
        re.IGNORECASE | re.MULTILINE,
    ),
)
# replies of mailing list programs to the mail that they quote
_LIST_REFUSES = Signed(
    ("list", "member", "subscri", "moderator"),
    re.compile(
        r"not a member of (?:this|the) (?:mailing )?list|(?:held until|rejected by|reviewed by) the (?:list )?moderator"
        r"|non-?members? (?:submission|are not allowed)|by non-?members? to a members-only|not sent to the list"
        r"|only (?:subscribers|members)[^.]{0,60} (?:may|can) (?:post|send)"
        r"|restricted to (?:list )?(?:subscribers|members)"
        r"|not allowed to (?:post|send) (?:messages )?to this (?:mailing )?list",
        re.I,
    ),
)
# Sieve's `reject` and full mailboxes answer so, in the form of a receipt (RFC 3028; RFC 5429 still allows it)
_REJECTS = re.compile(r"\b(?:rejected|refused|quota|not delivered|could not be delivered)\b", re.I)
_PASSED_ON = (b"; displayed", b"; dispatched", b"; processed")
_EMPTY_PATHS = ("<>", "<MAILER-DAEMON>")
# notifications have subjects of their own
_ANSWERS = re.compile(
    r"\s*(?:re|aw|antw|sv|vs|odp|rif|res|r|ynt|отв|回复|答复|回覆|fwd?|wg|tr|rv|enc|doorst|vb|pd|i|ilt|转发|轉寄|전달)"
    r"\s?(?:\[\d{1,3}\])?\s?[::]",
    re.I,
)
_REPLY = re.compile(r"(?<![\d.])[45]\d\d[ -]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?!\.?\d)")


class Kind(StrEnum):
    BOUNCE = "bounce"
    FEEDBACK = "feedback"
    AUTH_REPORT = "auth-report"
    AUTO_REPLY = "auto-reply"
    CHALLENGE = "challenge"
    RECEIPT = "receipt"
    UNSUBSCRIBE = "unsubscribe"
    OTHER = "other"


class Words(Protocol):
    """The sentences of a mail, read on demand."""

    @property
    def text(self) -> str: ...


def kind_of(mail: Mail, feedback: Headers, has_status: bool, human: Words) -> Kind:
    """Decide by form first (RFC 3464, 5965), then by the sender, then by the subject."""
    if feedback.items:
        return Kind.AUTH_REPORT if feedback.get("feedback-type").lower() in _AUTH_FEEDBACK else Kind.FEEDBACK
    if has_status and (mail.has(b"delivery-status") or not _is_somebodys(mail.headers)):
        return Kind.BOUNCE  # even if it calls itself auto-replied, as Exim does
    headers, subject = mail.headers, mail.headers.get("subject")
    report_type = mail.type[1].get("report-type", "").lower()
    if report_type == "feedback-report":
        return Kind.FEEDBACK
    if report_type == "disposition-notification":  # RFC 8098: opened, or deleted unread; it arrived
        return Kind.BOUNCE if _refuses(mail) and _REJECTS.search(human.text[:500]) else Kind.RECEIPT
    if report_type == "delivery-status" or headers.get("x-failed-recipients"):
        return Kind.BOUNCE
    by_server = bool(_SERVER.search(headers.get("from")))
    if by_server and _is_somebodys(headers):
        by_server = bool(_REPLY.search(human.text))  # anybody can call himself a mail system
    if _is_complaint(mail, human.text, by_server):
        return Kind.FEEDBACK
    if _DMARC_SUBJECT.search(subject) or (mail.has(b"!") and _DMARC_FILE.search(mail.raw, 0, _NAMED_WITHIN)):
        return Kind.AUTH_REPORT
    if by_server and not _AUTO_SUBJECT.search(subject):
        return Kind.BOUNCE
    if not by_server and _UNSUBSCRIBE.fullmatch(subject.strip()):
        return Kind.UNSUBSCRIBE
    if _CHALLENGE.search(subject) or _CHALLENGE.search(human.text[:1_500]):
        return Kind.CHALLENGE
    return Kind.AUTO_REPLY if _AUTO_SUBJECT.search(subject) else _by_subject(headers, subject, human.text)


def _by_subject(headers: Headers, subject: str, human: str) -> Kind:
    """Decide about a mail that names no server as its author."""
    is_freight = bool(_OTHER_FREIGHT.search(f"{subject} {human[:500]}"))
    is_answer = bool(_ANSWERS.match(subject))
    cannot_be = is_freight or is_answer or _is_somebodys(headers) or _is_of_a_list(headers)
    says_bounce = bool(_BOUNCE_SUBJECT.search(subject)) and not cannot_be
    mentions_reply = "deliver" in human.lower() or bool(_REPLY.search(human))
    if says_bounce and mentions_reply:
        return Kind.BOUNCE
    if _is_automatic(headers):
        return Kind.AUTO_REPLY
    if _LIST_REFUSES.search(human[:1_500]) or _LIST_REFUSES.search(subject):
        return Kind.BOUNCE
    empty_path = headers.get("return-path").strip() in _EMPTY_PATHS
    calls_itself_so = headers.get("auto-submitted") or headers.get("x-auto-response-suppress")
    if empty_path and not says_bounce and not mentions_reply and (is_answer or calls_itself_so):
        return Kind.AUTO_REPLY  # a help desk's acknowledgement, or a program that answers for somebody who is away
    if says_bounce or (empty_path and not _AWAY.search(human[:400])):
        return Kind.BOUNCE
    return _by_words(headers, human, cannot_be)


def _by_words(headers: Headers, human: str, cannot_be: bool) -> Kind:
    """Decide by words alone: a person's, or those of a server that names neither itself nor its report."""
    answers = headers.get("in-reply-to") or headers.get("references")
    if not answers and not cannot_be and _SAYS_UNDELIVERED.search(human[:1_500]):
        return Kind.BOUNCE
    return Kind.AUTO_REPLY if _AWAY.search(human[:400]) else Kind.OTHER


def _is_somebodys(headers: Headers) -> bool:
    """Whether a person or a program wrote it: a notification's return path is empty (RFC 5321, 4.5.5) or a server's."""
    path = headers.get("return-path").strip()
    sender = headers.get("from").rpartition("<")[2]  # without the name
    return bool(path) and path not in _EMPTY_PATHS and not _SERVER.search(f"{path} {sender}")


def _is_of_a_list(headers: Headers) -> bool:
    """Whether it is a newsletter or a mail to a list: return paths of these look like those of servers."""
    return bool(headers.get("list-unsubscribe") or headers.get("list-id"))


def _is_complaint(mail: Mail, human: str, by_server: bool) -> bool:
    """Microsoft's junk mail reports have no feedback part; the mail that they return names the recipient.

    Servers mention complaints and reports when they refuse a mail, people when they are angry.
    """
    if any(headers.get("x-hmxmroriginalrecipient") for headers in (mail.headers, mail.returned_headers)):
        return True
    if _JMRP.search(mail.headers.get("subject")):
        return True
    return not by_server and bool(_JMRP.search(human[:500])) and bool(mail.returned)


def _refuses(mail: Mail) -> bool:
    """Whether a program, not a person, disposed of the mail, and did not pass it on (RFC 8098, 3.2.6)."""
    return mail.has(b"automatic-action") and not any(mail.has(word) for word in _PASSED_ON)


def _is_automatic(headers: Headers) -> bool:
    """RFC 3834, and its predecessors. `auto-generated` is what bounces call themselves, so it says nothing."""
    submitted = headers.get("auto-submitted").lower()
    return (
        submitted.startswith("auto-replied")
        or headers.get("precedence").lower() in ("auto_reply", "auto-reply")
        or any(headers.get(name) for name in ("x-autoreply", "x-autorespond", "x-auto-reply", "x-autoresponder"))
    )
