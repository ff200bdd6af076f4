"""Owns the way from what an author writes to a pattern: phrases for everybody, regular expressions for experts.

A phrase is words: `mailbox * full`. A `*` between words stands for up to 60 characters, one at a word's end for the
rest of the word, `{name}` for any of the words that the rule set keeps under that name. Words match whole.

A pattern must cost the same whatever text comes: repeats are bounded, and what makes an engine go back (references,
look-around) is refused. So every engine takes it, and none can be held up by a reply written for the purpose.
"""

import re
from collections.abc import Mapping, Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from services.bounce.domain.rules.wording import comparable

LONGEST_REPEAT = 200
LONGEST_EXPRESSION = 500
MOST_GAPS = 3
GAP = ".{0,60}"
_WORD_ENDS = "[a-z0-9]{0,20}"
_LAST_LATIN = 0x5FF  # Latin, Greek, Cyrillic and Armenian put spaces between words
_NAME = re.compile(r"\{([a-z_]{1,30})\}")
_REFUSED = {
    sre.ASSERT: "look-around is not linear",
    sre.ASSERT_NOT: "look-around is not linear; name what must not be there under `unless`",
    sre.GROUPREF: "a reference to a group is not linear",
    sre.GROUPREF_EXISTS: "a condition on a group is not linear",
    sre.ATOMIC_GROUP: "atomic groups are not understood by every engine",
    sre.POSSESSIVE_REPEAT: "possessive repeats are not understood by every engine",
}
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)

Words = Mapping[str, Sequence[str]]


class BadPattern(ValueError):
    """A phrase or expression that no rule may have; says why, and what to write instead."""


def of_phrase(phrase: str, words: Words) -> tuple[bytes, ...]:
    """The patterns of a phrase, any of which is it: with and without words in its gaps. Raises BadPattern."""
    segments: list[list[str]] = [[]]
    for token in _NAME.sub(r" {\1} ", phrase).split():
        if token == "*":
            segments.append([])
        elif _NAME.fullmatch(token):
            segments[-1].append(_alternatives(token[1:-1], words))
        elif piece := _literal(token):
            segments[-1].append(piece)
    if not all(segments) or len(segments) > MOST_GAPS + 1:
        raise BadPattern(f"«{phrase}» needs a word on either side of each gap, and at most {MOST_GAPS} gaps")
    texts = [" ".join(pieces) for pieces in segments]
    found = [texts[0]]
    for text in texts[1:]:
        found = [f"{before}{gap}{text}" for before in found for gap in (" ", f" {GAP} ")]
    return tuple(_whole(text).encode() for text in found)


def _literal(token: str) -> str:
    plain = comparable(token.rstrip("*")).decode().strip()
    return re.escape(plain) + (_WORD_ENDS if token.endswith("*") else "") if plain else ""


def _alternatives(name: str, words: Words) -> str:
    if name not in words:
        raise BadPattern(f"no words are kept under the name «{name}»")
    return "(?:" + "|".join(re.escape(comparable(word).decode().strip()) for word in words[name]) + ")"


def _whole(text: str) -> str:
    """Whole words only: a space at either end. Scripts that write no spaces have none to ask for."""
    begins = "" if ord(text[0]) > _LAST_LATIN else " "
    if text.endswith(_WORD_ENDS):
        return begins + text.removesuffix(_WORD_ENDS)
    return begins + text + ("" if ord(text[-1]) > _LAST_LATIN else " ")


def of_expression(expression: str) -> bytes:
    """The pattern of a regular expression, checked. Raises BadPattern with the position where there is one."""
    if len(expression) > LONGEST_EXPRESSION:
        raise BadPattern(f"an expression of more than {LONGEST_EXPRESSION} characters; write several")
    try:
        tree = _parser.parse(expression)
    except re.error as error:
        raise BadPattern(f"«{expression}» is no regular expression: {error.msg} at {error.pos}") from error
    except OverflowError as error:
        raise BadPattern("a repeat beyond reason") from error
    if tree.state.flags & ~re.UNICODE.value:
        raise BadPattern("flags inside an expression have no use: the text is in lower case already")
    _check(tree, 1)
    if tree.getwidth()[0] == 0:
        raise BadPattern(f"«{expression}» matches nothing at all, and so every text")
    return expression.encode()


def _check(tree: Any, times: int) -> None:
    for op, value in tree:
        if op in _REFUSED:
            raise BadPattern(_REFUSED[op])
        if op in _REPEATS:
            least, most, inner = value
            if most is sre.MAXREPEAT:
                raise BadPattern(f"a repeat without an end; write {{{least},40}} instead of + or *")
            if most > LONGEST_REPEAT or times * most > 4 * LONGEST_REPEAT:
                raise BadPattern(f"repeats of more than {LONGEST_REPEAT}, or repeats of repeats, cost too much")
            _check(inner, times * max(most, 1))
        elif op is sre.LITERAL and 65 <= value <= 90:
            raise BadPattern(f"«{chr(value)}» never matches: the text is in lower case")
        elif op is sre.IN:
            _check_class(value)
        elif op is sre.BRANCH:
            for branch in value[1]:
                _check(branch, times)
        elif op is sre.SUBPATTERN:
            _check(value[3], times)


def _check_class(members: Any) -> None:
    for op, value in members:
        ends = value if op is sre.RANGE else (value,) if op is sre.LITERAL else ()
        if any(end > 127 for end in ends):
            raise BadPattern("letters beyond ASCII have no place in a class; write (?:é|è)")
