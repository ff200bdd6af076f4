"""Owns the names of mailbox providers that a refusal gives away by a host of theirs."""

import re

_BY_SIGN: dict[str, str] = {
    "google.com": "gmail",
    "gsmtp": "gmail",
    "outlook.com": "microsoft",
    "yahoodns.net": "yahoo",
    "icloud.com": "apple",
    "gmx.net": "united-internet",
    "web.de": "united-internet",
}
_SIGNS = re.compile("|".join(map(re.escape, _BY_SIGN)), re.IGNORECASE)


def provider_of(text: str) -> str | None:
    """The provider whose host or mark stands in a refusal; None where none does."""
    found = _SIGNS.search(text[:4_000])
    return _BY_SIGN[found[0].lower()] if found else None
