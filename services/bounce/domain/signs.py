"""Owns expressions that are tried only if a text contains one of their signs.

An expression of many alternatives, case-insensitive, costs 20 to 80 µs on half a kilobyte; searching for ten words
costs one. Most texts contain none of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_AT_ONCE = 500  # characters, and the rest of their last line


@dataclass(frozen=True, slots=True)
class Signed:
    """`signs`, in lower case: whatever the expression matches contains one of them."""

    signs: tuple[str, ...]
    expression: re.Pattern[str]
    _ascii: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ascii", tuple(sign for sign in self.signs if sign.isascii()))

    def search(self, text: str) -> re.Match[str] | None:
        return self.expression.search(text) if self.may_be_in(text) else None

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        return self.expression.finditer(text) if self.may_be_in(text) else iter(())

    def without(self, text: str) -> str:
        """Return the text without what the expression matches."""
        return self.expression.sub("", text) if self.may_be_in(text) else text

    def lines_of(self, text: str) -> Iterator[int]:
        """Yield the starts of the lines that contain a sign, in order. A caller that stops at one of the first does
        not pay for the rest of the text."""
        begin = 0
        while begin < len(text):
            end = text.find("\n", begin + _AT_ONCE) + 1 or len(text)
            yield from (begin + start for start in self._among(text[begin:end]))
            begin = end

    def _among(self, text: str) -> Iterator[int]:
        lower = text.lower()
        if len(lower) != len(text):  # lower-casing made two letters of one
            begins = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]
            yield from (begin for begin in begins if self.may_be_in(text[begin:].partition("\n")[0]))
            return
        found = [(at, sign) for sign in self.signs if (at := lower.find(sign)) >= 0]
        while found:
            first = min(found)[0]
            yield lower.rfind("\n", 0, first) + 1
            end = lower.find("\n", first)
            ahead = [(at if at > end else lower.find(sign, end), sign) for at, sign in found] if end >= 0 else []
            found = [(at, sign) for at, sign in ahead if at >= 0]

    def may_be_in(self, text: str) -> bool:
        lower = text.lower()
        for sign in self._ascii if lower.isascii() else self.signs:  # noqa: SIM110 - any() over a generator takes twice as long
            if sign in lower:
                return True
        return False
