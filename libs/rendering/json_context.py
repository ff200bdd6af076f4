"""Where values land in JSON: those that are a whole JSON value, and those in a string between quotes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from libs.rendering.html import HOLE, Hole, cut

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SIGN = re.compile(rf"{HOLE.pattern}|\S")
_BRANCHES = frozenset({"else", "elsif", "when"})
_BESIDE_A_VALUE = frozenset("{}[],:") | {""}


@dataclass(frozen=True, slots=True)
class InJson:
    """The offsets of outputs that stand alone, without quotes and with nothing of a value beside them, and of those
    between quotes."""

    alone: frozenset[int] = frozenset()
    quoted: frozenset[int] = frozenset()


def place_json(source: str) -> InJson:
    """Return where the values of a JSON source land."""
    made = cut(source)
    return values_in(made.source, made.holes)


def values_in(json_text: str, holes: list[Hole]) -> InJson:
    """Return where the values land in JSON in which holes have replaced Liquid."""
    outside = _STRING.sub("s", json_text)
    if '"' in outside:
        return InJson()  # a string begins or ends in one branch of a condition
    signs = ["", *_signs(outside, holes), ""]
    inside = [holes[int(number)] for number in HOLE.findall("".join(_STRING.findall(json_text)))]
    return InJson(
        alone=frozenset(
            sign.offset
            for before, sign, after in zip(signs, signs[1:], signs[2:], strict=False)
            if isinstance(sign, Hole) and before in _BESIDE_A_VALUE and after in _BESIDE_A_VALUE
        ),
        quoted=frozenset(hole.offset for hole in inside if hole.is_output),
    )


def _signs(outside: str, holes: list[Hole]) -> Iterator[str | Hole]:
    """Yield signs and outputs in order; a new branch of a condition is an empty sign, a capture is left out."""
    captures = 0
    for found in _SIGN.finditer(outside):
        hole = holes[int(found.group(1))] if found.group(1) else None
        if hole is not None:
            captures += {"capture": 1, "endcapture": -1}.get(hole.tag, 0)
        if captures:
            continue
        if hole is None or hole.is_output:
            yield hole or found.group()
        elif hole.tag in _BRANCHES:
            yield ""
