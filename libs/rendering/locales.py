"""Locale chains: de-AT → de → the tenant's default. Tags as in BCP 47, in any case, with hyphen or underscore."""

import re
from collections.abc import Collection

_TAG = re.compile(r"^[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|\d{3}))?([-_][A-Za-z0-9]{4,8})*$")


def normalised(tag: str) -> str | None:
    """Return the tag as we write it (`de-AT`, `zh-Hant-TW`), or None if it is not a tag."""
    if not _TAG.match(tag):
        return None
    language, *rest = tag.replace("_", "-").split("-")
    written = [language.lower()]
    for part in rest:
        if len(part) == 2:
            written.append(part.upper())
        elif len(part) == 4 and part.isalpha():
            written.append(part.title())
        else:
            written.append(part.lower())
    return "-".join(written)


def chain(tag: str | None, default: str) -> list[str]:
    """Return the locales to try for a recipient, the nearest first."""
    made: list[str] = []
    for start in (normalised(tag or ""), normalised(default) or default):
        parts = start.split("-") if start else []
        while parts:
            candidate = "-".join(parts)
            if candidate not in made:
                made.append(candidate)
            parts.pop()
    return made


def chosen(tag: str | None, default: str, available: Collection[str]) -> str | None:
    """Return the available locale for a recipient; None if not even the default is available."""
    return next((candidate for candidate in chain(tag, default) if candidate in available), None)


def fallbacks(available: Collection[str], default: str) -> dict[str, list[str]]:
    """Return the chains that publishing writes into a release: for each language and region that has a text."""
    tags = {default, *available}
    return {tag: [each for each in chain(tag, default) if each in available] for tag in sorted(tags)}


def locale_chain(tag: str | None, available: Collection[str], default: str) -> tuple[str, ...]:
    """Return the available locales to try for a recipient, the nearest first; empty if not even the default is
    available."""
    return tuple(each for each in chain(tag, default) if each in available)
