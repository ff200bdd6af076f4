"""Counting an SMS: GSM 03.38 septets or UCS-2 units, and the segments that the operator charges."""

import re
from dataclasses import dataclass

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "^{}\\[~]|€\f"
SEPTETS: dict[str, int] = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENSION, 2)

# spaces used in money and times, and invisible characters: none is worth the 90 characters that UCS-2 costs
_BLANKS = re.compile("[\u00a0\u2000-\u200a\u202f\u205f]")
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")

GSM_7 = "gsm-7"
UCS_2 = "ucs-2"
_CAPACITY = {GSM_7: (160, 153), UCS_2: (70, 67)}


@dataclass(frozen=True, slots=True)
class Count:
    """What a text costs: its encoding, its units in that encoding, and its segments."""

    encoding: str
    units: int
    segments: int


def spaced(text: str) -> str:
    """Return the text with plain spaces, which every phone and GSM-7 have; GSM-7 has no tab."""
    text = text.replace("\t", " ")
    return text if text.isascii() else _BLANKS.sub(" ", _UNSEEN.sub("", text))


def count(text: str) -> Count:
    """Count a text. A character of two units is never split between two segments."""
    gsm = all(character in SEPTETS for character in text)
    encoding = GSM_7 if gsm else UCS_2
    widths = [SEPTETS[c] if gsm else (2 if ord(c) > 0xFFFF else 1) for c in text]
    single, joined = _CAPACITY[encoding]
    units = sum(widths)
    if units <= single:
        return Count(encoding, units, 1)
    segments, room = 1, joined
    for width in widths:
        if width > room:
            segments, room = segments + 1, joined
        room -= width
    return Count(encoding, units, segments)


def not_gsm(text: str) -> list[str]:
    """Return the characters that force UCS-2, each once, in order, for previews."""
    return [character for character in dict.fromkeys(text) if character not in SEPTETS]
