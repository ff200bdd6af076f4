"""What a cell means: the ways in which programs write nothing, text, several addresses, yes, a time, a country."""

import re
from datetime import datetime
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers

from libs.errors import Invalid

_NOTHING = frozenset(["NULL", "\\N", "#N/A", "#NV"])  # how databases and spreadsheets write an empty cell
_MARKED_AS_TEXT = re.compile(r"'(?=[+(]?[0-9][0-9 ()./-]*$)")  # how a spreadsheet marks digits as text
_MAIL_AS_TEXT = re.compile(r"'([^@'\s]+@[^@'\s]+)'?")  # no mailbox begins so, although RFC 5321 permits it
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,3}|[0-9]+\.0")  # by a spreadsheet; by a data frame
_FAILED = re.compile(r"#[A-ZÄÖÜ0-9/]{2,10}[!?]")  # #REF!, #NAME?, #WERT!
_DIVIDED = re.compile(r"[;,\n]")
_FRACTION = re.compile(r"(?<=[0-9]{7})\.0$")
_YES = frozenset(
    "1 yes y true t ja j wahr oui vrai si sí sì verdadero vero on granted active optin optedin subscribed "
    "confirmed".split()
)
_NO = frozenset("0 no n false f nein falsch non faux falso off withdrawn optout optedout unsubscribed cleaned".split())
_NO_DIVIDERS = str.maketrans("", "", " _-")
_UNSAID = frozenset(["", "neversubscribed", "notsubscribed", "pending", "unconfirmed"])
_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)([ T](?P<hour>\d\d:\d\d(:\d\d(\.\d{1,9})?)?) ?(?P<offset>Z|UTC|GMT|[+-]\d\d:?\d\d)?)?",
    re.IGNORECASE,
)


def plain_cell(text: str) -> str:
    """Return the cell without what only its program needs."""
    text = text.strip()
    if text.startswith("'"):
        if (mailbox := _MAIL_AS_TEXT.fullmatch(text)) is not None:
            return mailbox[1]
        return _MARKED_AS_TEXT.sub("", text, count=1)
    return "" if text in _NOTHING else text


def check_formula(text: str, pointer: str) -> None:
    """Raises Invalid where a spreadsheet's formula failed: as an id, many would become one."""
    if text.startswith("#") and _FAILED.fullmatch(text):
        raise Invalid("A formula of the spreadsheet failed here; fix the cell, or empty it.", pointer=pointer)


def check_digits(text: str, pointer: str) -> None:
    """Raises Invalid if a program took an id or phone number for a quantity: rounding makes many the same."""
    if _ROUNDED.fullmatch(text):
        raise Invalid("A program has rounded these digits; export the column as text.", pointer=pointer)


def several(place: str, text: str, pointer: str) -> list[str]:
    """Return the addresses of one cell, which people separate by semicolon, comma or line. Raises Invalid."""
    if place == "webhook" or '"' in text:
        return [text]
    if place == "phone":
        text = _FRACTION.sub("", text) if text.endswith(".0") else text
        check_digits(text, pointer)
    if not _DIVIDED.search(text):
        return [text]
    found = [part.strip() for part in _DIVIDED.split(text) if part.strip()]
    whole = len(found) > 1 and all("@" in part if place == "email" else _digits(part) >= 6 for part in found)
    return found if whole else [text]


def answer_of(text: str, pointer: str) -> bool | None:
    """Return yes, no, or None if the cell states neither. Raises Invalid."""
    answer = text.lower().translate(_NO_DIVIDERS)
    if answer in _UNSAID:
        return None
    if answer not in _YES | _NO:
        raise Invalid(
            "A consent is yes or no (or true, 1, subscribed, unsubscribed …); leave the cell empty if it is neither.",
            pointer=pointer,
        )
    return answer in _YES


def told_at(text: str, zone: str | None, pointer: str) -> str:
    """Return the time in the format of ISO 8601; `zone` applies if it has no offset. Raises Invalid if neither does."""
    match = _TIME.fullmatch(text)
    if match is None:
        return text  # for the parser of times to accept or refuse
    offset = (match["offset"] or "").upper()
    written = f"{match['day']}T{match['hour'] or '00:00'}{'Z' if offset in ('UTC', 'GMT') else offset}"
    if offset:
        return written
    if zone is None:
        said = "end it with Z or +01:00, or say its zone for the whole column"
        raise Invalid(f"The time has no offset; {said}: column '{pointer}=consent_at:UTC'.", pointer=pointer)
    try:
        return datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(zone)).isoformat()
    except ValueError:
        return written


def country_of(text: str) -> str:
    """Return the ISO 3166 code for a country's code or its name in any language; ZZ if it is neither."""
    if len(text) == 2 and text.upper() in phonenumbers.SUPPORTED_REGIONS:
        return text.upper()
    return _names().get(text.casefold(), "ZZ")


@cache
def _names() -> dict[str, str]:
    return {
        name.casefold(): region
        for region, languages in _locales().items()
        for name in languages.values()
        if name and not name.startswith("*")
    } | {"usa": "US", "united states of america": "US", "uk": "GB", "great britain": "GB"}


def _locales() -> Any:
    """Load the library's country names by language, but not their package: it loads the area codes of the world."""
    path = Path(phonenumbers.__file__).parent / "geodata" / "locale.py"
    spec = util.spec_from_file_location("phonenumbers.geodata.locale", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LOCALE_DATA


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


# "Muster GmbH" is nobody's first name; neither is "Dr."
_COMPANIES = frozenset("ab ag bv co corp gmbh inc kg llc llp ltd mbh nv ohg oy plc sa sarl sas spa srl ug".split())


def split_name(text: str) -> dict[str, str]:
    """Return a whole name as first_name and last_name; all of it as last_name if it cannot be told apart.

    "Ada Lovelace" and "Lovelace, Ada" can; a single word, a title with a dot and a company cannot.
    """
    last, comma, first = (part.strip() for part in text.partition(","))
    if not comma:
        first, _, last = text.strip().partition(" ")
    words = {word.strip(".,&").casefold() for word in text.split()}
    if not first or not last or "." in first or "," in first or "&" in text or words & _COMPANIES:
        return {"last_name": text}
    return {"first_name": first, "last_name": last.strip()}
