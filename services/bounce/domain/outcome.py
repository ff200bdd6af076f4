"""Owns what sentences say about the delivery as a whole: that it failed, that it is late, or that the mail arrived."""

import re

from services.bounce.domain.signs import Signed

_STILL_TRIED = Signed(
    (
        *("not yet been", "delivered yet", "been delayed", "been postponed", "tried", "attempts will", "still "),
        *("warning ", "will retry", "need to resend", "will continue to", "will keep trying"),
    ),
    re.compile(
        r"not yet been delivered|has(?:n['’]t| not) been delivered yet|has been (?:delayed|postponed)"
        r"|will (?:continue to )?be (?:re)?tried"
        r"|delivery attempts will continue|will (?:continue to try|keep trying)"
        r"|(?:is|are) still (?:being )?tr(?:ied|ying)"
        r"|warning (?:message )?only|gmail will retry|(?:do not|don't) need to resend",
        re.IGNORECASE,
    ),
)
# what servers will do, in the languages in which Exchange, Gmail and Postfix's templates say it; never what to do
_GOES_ON_ABROAD = Signed(
    (
        *("versuch", "essayer", "essaiera", "tentat", "tentar", "tentan", "riprov", "provare", "probe"),
        *("försök", "prøve"),
        *("prób", "pokus", "попыт", "повтор", "спроб", "dene", "再", "引き続き", "重", "尝试", "嘗試", "시도"),
    ),
    re.compile(
        r"wird (?:noch |weiter|erneut|weiterhin )[^.\n]{0,30}versucht|weiterhin versuch|wir versuchen es weiter"
        r"|continuera (?:à|d['’]) ?essayer|réessaiera|continuera ses tentatives|d['’]autres tentatives seront"
        r"|volver[áa] a intentar|seguir[áa] intentando|se seguirá intentando|se intentará de nuevo"
        r"|tentar[áa] novamente|continuar[áa] (?:a )?tentar|continuar[áa] tentando|novas tentativas serão"
        r"|riproverà|continuerà a (?:tentare|provare)|altri tentativi (?:verranno|saranno)"
        r"|(?:wordt|zal) (?:het )?(?:nogmaals|opnieuw|verder) [^.\n]{0,20}(?:geprobeerd|proberen)|blijft proberen"
        r"|(?:kommer att|fortsätter att) försök|(?:vil|fortsetter å|fortsætter med at) prøve"
        r"|(?:ponowi|podejmie|będzie ponawiał)[^.\n]{0,30}prób|bud(?:e|ou) pokračovat[^.\n]{0,30}pokus"
        r"|попытки[^.\n]{0,40}(?:будут|продолжа)|повторит попытку|будет повторена"
        r"|спроби[^.\n]{0,40}(?:будуть|тривати)"
        r"|(?:tekrar|yeniden) dene(?:ne|ye)cek|denemeye devam ed"
        r"|再送を試み|再送(?:し|され|いたし)ます|再試行(?:し|され|いたし)?ます|引き続き(?:配信|送信|配送|再)"
        r"|(?:将|會|会|將|系统)(?:继续|繼續|自动|自動|再次)?(?:尝试|嘗試|重试|重試|重发|重發)"
        r"|계속(?:해서)? 시도|다시 시도(?:할 것|할 예정|됩니다|합니다)|재시도(?:할|됩니다|합니다)",
        re.IGNORECASE,
    ),
)
_ARRIVED = Signed(
    (
        *("successful", "is complete, but", "been delivered to", "abgeschlossen", "zugestellt", "remis", "entrega"),
        *("entregue", "recapit"),
    ),
    re.compile(
        r"(?:has been|have been|was|were) successfully (?:delivered|relayed)|had successful delivery"
        r"|is complete, but no delivery notification|has been delivered to the following"
        r"|ist abgeschlossen,[^.]{0,60}keine zustell"
        r"|wurde an (?:die )?folgenden? empfänger (?:oder gruppen )?zugestellt"
        r"|a été remis aux? destinataires? suivants?|est terminée, mais aucune notification de remise"
        r"|se ha entregado a los siguientes destinatarios|se ha completado la entrega"
        r"|foi entregue aos seguintes destinatários|è stato recapitato ai seguenti destinatari",
        re.IGNORECASE,
    ),
)
_FAILED = ("fail", "error", "undeliver", "fatal", "not delivered", "not be delivered")
# not what Gmail announces for the case that the delivery fails permanently
_GIVEN_UP = Signed(
    ("permanent", "given up", "giving up", "gave up"),
    re.compile(r"(?<!fails )(?<!falhar )(?<!forma )(?<!manera )permanent|giv(?:en|ing) up|gave up", re.IGNORECASE),
)
_NOT_DELIVERED = re.compile(r"could not be delivered|failed to deliver", re.IGNORECASE)
_GOES_ON = re.compile(
    r"attempts will continue|will (?:continue to try|keep trying|retry|(?:continue to )?be (?:re)?tried)"
    r"|warning (?:message )?only|(?:do not|don't) need to resend",
    re.IGNORECASE,
)
_LATE = Signed(
    (
        *("delay", "still being retried", "incompl", "verzögert", "retard", "retras", "atras", "vertraagd", "opóźn"),
        *("försen", "forsink", "задерж", "gecik", "遅延", "延迟", "延遲", "지연"),
    ),
    re.compile(
        r"\(delay(?:ed)?\)|\bdelayed\b|still being retried|delivery incomplete"
        r"|verzögert|retardé|retrasad|atrasad|vertraagd|opóźnion|försenad|forsinket|задержан|задержк|gecik"
        r"|遅延|延迟|延遲|지연|(?:entrega|consegna) incompleta|remise incomplète",
        re.IGNORECASE,
    ),
)
# after these the subject is that of our own mail
_OF_A_FAILURE = re.compile(
    r"[^:]{0,20}(?:undeliver|unzustellbar|non remis|returned|fail|no se puede entregar|non recapitabile|onbestelbaar"
    r"|não entreg|配信不能|未送达|无法送达|недоставл|niedostarczon)[^:]{0,40}:",
    re.IGNORECASE,
)


def has_arrived(human: str) -> bool:
    """Whether the sentences only say that the mail has arrived, or is on its way there."""
    says_failed = any(map(human.lower().__contains__, _FAILED))  # as most do, and first
    return not says_failed and bool(_ARRIVED.search(human))


def is_still_tried(human: str, subject: str = "") -> bool:
    """Whether the sentences only warn that a mail is late; if they also say failed, it is, unless retries go on."""
    is_late = bool(_LATE.search(subject)) and not _OF_A_FAILURE.match(subject)
    abroad = bool(_GOES_ON_ABROAD.search(human))
    if not (is_late or abroad or _STILL_TRIED.search(human)):
        return False
    if _GIVEN_UP.search(human):  # asked last: it takes longest, and most failures contain one of its signs
        return False
    return not _NOT_DELIVERED.search(human) or is_late or abroad or bool(_GOES_ON.search(human))
