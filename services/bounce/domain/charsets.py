"""Owns decoding text: in the charset that it names, or in the one that its bytes look like. Never raises.

Servers copy a reply of another server as it came, in the bytes of its country, into a part that says us-ascii; others
name a charset that they do not use, or one whose name nobody else knows.
"""

import codecs
import re

# text charsets only: idna, punycode and the escape codecs are slow or produce lone surrogates
_CHARSET = re.compile(
    r"utf-?(?:7|8|16(?:be|le)?)|(?:us-)?ascii|iso-?8859-\d{1,2}|latin-?\d|(?:windows|cp|ibm)-?(?:125\d|85\d|866|874|437)"
    r"|koi8-[rut]|macintosh|tis-620|hz-gb-2312|iso-2022-kr",
    re.IGNORECASE,
)
# names that Python does not know, and charsets of which people use a larger one under the old name
_ALSO = {
    "unicode-1-1-utf-7": "utf-7",
    "windows-874": "cp874",
    **dict.fromkeys(("gb2312", "gb_2312-80", "gbk", "x-gbk", "cp936", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs", "x-big5", "cp950"), "big5hkscs"),
    **dict.fromkeys(("shift_jis", "shift-jis", "x-sjis", "windows-31j", "cp932"), "cp932"),
    **dict.fromkeys(("euc-jp", "x-euc-jp"), "euc_jp"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "ks_c_5601", "x-windows-949", "cp949"), "cp949"),
    **dict.fromkeys(("iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3"), "iso2022_jp_ext"),
}
_OF_MANY_BYTES = frozenset(_ALSO.values())
# what programs name that do not know what they send
_BY_DEFAULT = re.compile(r"(?:us-)?ascii|iso-?8859-15?|latin-?1|(?:windows|cp)-?1252", re.IGNORECASE)
_MARKS = (b"\xff", b"\xfe", b"\xef")  # first bytes of byte order marks
_ESCAPES = ("\x1b$", "\x1b(I")  # into the two-byte sets of ISO 2022
_KOREAN_ESCAPE = b"\x1b$)C"
_RUNS = re.compile(rb"(?:[\x81-\xfe][\x40-\x7e\x80-\xfe])+")
_HIGH = re.compile(rb"[\x80-\xff]+")
_SAMPLE = 2_000  # runs of bytes; enough to recognise a charset
_A_WORD = 4  # bytes
_ADJACENT = 1.5  # on average; letters with accents stand apart from each other
_EUC = 0xA1  # its lowest byte
_MANY_KANA = 0.2  # of the characters
_FEW = 0.5  # of the letters: text in another charset has none that are right
_REPLACED = "\ufffd"


def text_of(body: bytes, charset: str | None) -> str:
    """Decode text with the named charset, else UTF-8, else as what it looks like; Latin-1 if it looks like nothing."""
    marked = _marked(body) if body[:1] in _MARKS else None
    name = marked or (_known(charset) if charset else "utf-8")
    try:
        text = body.decode(name)
    except (UnicodeDecodeError, LookupError):
        return _guessed(body, name)
    if "\x1b" in text and any(escape in text for escape in _ESCAPES):
        return body.decode("iso2022_kr" if _KOREAN_ESCAPE in body else "iso2022_jp_ext", "replace")
    if charset and not text.isascii() and _BY_DEFAULT.fullmatch(charset):
        return _guessed(body, name)
    return text


def _known(charset: str) -> str:
    also = _ALSO.get(charset.lower())
    return also or (charset if _CHARSET.fullmatch(charset) else "utf-8")


def _marked(body: bytes) -> str | None:
    """Return the charset of a byte order mark, which overrides the headers."""
    if body[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "utf-8-sig" if body.startswith(codecs.BOM_UTF8) else None


def _guessed(body: bytes, name: str) -> str:
    """Decode what is not valid in its charset, or in none: first as the charset with a fault in it, or cut off."""
    for one in ("utf-8", name) if name in _OF_MANY_BYTES else ("utf-8",):
        text = body.decode(one, "replace")
        if text.count(_REPLACED) <= _FEW * (len(text) - len(text.encode("ascii", "ignore"))):
            return text
    looks = _looks_like(body)
    if looks:
        return body.decode(looks, "replace")
    try:
        return body.decode(name)
    except (UnicodeDecodeError, LookupError):
        return body.decode("latin-1")


def _looks_like(body: bytes) -> str | None:
    """Return the charset of a Cyrillic or an Asian text, by which bytes it has and how they are paired."""
    runs, high = _RUNS.findall(body)[:_SAMPLE], _HIGH.findall(body)[:_SAMPLE]
    letters = b"".join(high)
    if not runs or 2 * sum(len(run) >= _A_WORD for run in runs) < len(runs) or len(letters) < _ADJACENT * len(high):
        return None
    for charset, low, up, most in (("cp1251", 0xE0, 0xFF, 0.6), ("koi8-r", 0xC0, 0xDF, 0.75)):  # the small letters
        if _share(letters, low, up) > most:
            return charset
    leads, trails = b"".join(run[::2] for run in runs), b"".join(run[1::2] for run in runs)
    if _share(leads, 0x82, 0x83) > _MANY_KANA:
        return "cp932"
    if min(leads) >= _EUC and min(trails) >= _EUC and all(len(run) % 2 == 0 for run in high):
        return _of_euc(leads)
    return "big5hkscs" if min(leads) >= _EUC and _share(leads, 0xA4, 0xC6) > 0.6 else "gb18030"


def _of_euc(leads: bytes) -> str:
    if _share(leads, 0xA4, 0xA5) > _MANY_KANA:
        return "euc_jp"
    words = leads.translate(None, bytes(range(0xB0)))
    return "cp949" if len(words) > 3 and max(words) <= 0xC8 else "gb18030"  # no syllables of Korean lie beyond C8


def _share(values: bytes, low: int, high: int) -> float:
    return 1 - len(values.translate(None, bytes(range(low, high + 1)))) / len(values)
