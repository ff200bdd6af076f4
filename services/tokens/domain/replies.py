"""The meaning of a customer's reply: STOP in our customers' languages.

Sources: Twilio's and the CTIA's default opt-out keywords, and the carriers' keywords in each country. Some words only
count alone ("end", "cancel" and "nein" occur in sentences); others also with a word or two beside them ("STOPP
bitte"). Nothing here grants consent: a yes needs the text that was agreed to.
"""

import unicodedata

# language → words that mean stop, also with a word or two beside them
_STRONG = {
    "en": "stop stopall unsubscribe optout",
    "de": "stopp abmelden abbestellen austragen widerruf",
    "fr": "arret arreter desabonner desinscription desinscrire",
    "es": "baja desuscribir desuscribirse",
    "it": "disiscrivi disiscrivimi annullaiscrizione",
    "nl": "afmelden uitschrijven",
    "pl": "wypisz rezygnuje rezygnacja",
    "pt": "descadastrar desinscrever",
    "sv": "avregistrera avprenumerera",
    "da": "afmeld frameld",
    "no": "avmeld avslutt",
    "fi": "lopeta",
    "cs": "odhlasit zrusit",
    "sk": "odhlasit zrusit",
    "hu": "leiratkozas leiratkozom",
    "ro": "dezabonare dezabonati",
    "tr": "iptal ret",
    "el": "στοπ διακοπη διαγραφη",
    "ru": "стоп отписаться отписка",
    "uk": "стоп відписатися",
    "bg": "стоп отписване",
    "ar": "توقف ايقاف إيقاف الغاء إلغاء",
    "he": "הסר הסרה עצור",
    "hi": "रोकें बंद",
    "ja": "停止 配信停止 ストップ",
    "ko": "수신거부 중지",
    "zh": "退订 退訂 取消订阅",
    "vi": "huy dung",
    "id": "berhenti",
}
# words that mean stop only if they are the whole reply
_ALONE = """
cancel end quit revoke ende aus nein alto cancelar parar sair basta ferma koniec dur td
"""

_STRONG_WORDS = frozenset(word for words in _STRONG.values() for word in words.split())
_STOP_PHRASES = frozenset(_ALONE.split()) | frozenset(
    ("opt out", "stop all", "cancel all", "keine sms mehr", "keine werbung", "bitte abmelden", "se desabonner")
)
_MAX_WORDS = 3
_LOOK_AT = 400


def _fold(text: str) -> str:
    """Fold case, accents and width: ARRÊT and arret are the same. Marks of other scripts stay."""
    plain = unicodedata.normalize("NFKC", text[:_LOOK_AT]).casefold()
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not "\u0300" <= c <= "\u036f")


_FOLDED_WORDS = frozenset(_fold(word) for word in _STRONG_WORDS)


def means_stop(text: str) -> bool:
    """Whether a reply asks us to stop, judged by its first line with any content."""
    lines = [line for line in text.splitlines() if any(character.isalnum() for character in line)]
    if not lines:
        return False
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in _fold(lines[0]))
    words = "".join(kept).split() or [""]
    phrase = " ".join(words)
    if phrase in _STOP_PHRASES or "".join(words) in _FOLDED_WORDS:
        return True
    return len(words) <= _MAX_WORDS and words[0] in _FOLDED_WORDS
