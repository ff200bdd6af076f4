"""Owns the translation of an author's text to a pattern: phrases for everybody, regular expressions for experts.

A phrase is words: `mailbox * full`. A `*` between words stands for up to 60 characters, one at a word's end for the
rest of the word, `{name}` for any of the words that the rule set stores under that name. Words match whole.

Text that occurs in any reply (an address, a number) does not distinguish replies, and is refused as a pattern.

A pattern must cost the same for every text: repeats are bounded, and constructs that need backtracking (references,
look-around) are refused. So every engine accepts it, and no crafted reply can stall one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from services.bounce.domain.rules.ways import MOST_WAYS, ways
from services.bounce.domain.rules.wording import comparable

LONGEST_REPEAT = 200
LONGEST_EXPRESSION = 500
MOST_GAPS = 3
GAP = ".{0,60}"
_WORD_ENDS = "[a-z0-9]{0,20}"
_LAST_LATIN = 0x5FF  # Latin, Greek, Cyrillic and Armenian put spaces between words
_NAME = re.compile(r"\{([a-z_]{1,30})\}")
_PLACEHOLDER = re.compile(r"<(?:address|ip|time|id)>")  # as templates write them
_IN_ANY_REPLY = b" " + b" ".join(b"%d" % number for number in range(600)) + b" @ "
_REFUSED = {
    sre.ASSERT: ("look-around is not linear; write the required text as words of the expression", r"\(\?<?=", 0),
    sre.ASSERT_NOT: ("look-around is not linear; put the excluded words under `unless`", r"\(\?<?!", 0),
    sre.GROUPREF: ("a reference to a group is not linear; write out what it stands for", r"\\[1-9]|\(\?P=", 0),
    sre.GROUPREF_EXISTS: ("a condition on a group is not linear; write two expressions", r"\(\?\(", 0),
    sre.ATOMIC_GROUP: ("not every engine supports atomic groups; write (?:…) instead of (?>…)", r"\(\?>", 0),
    sre.POSSESSIVE_REPEAT: (
        "not every engine supports possessive repeats; leave out the +",
        r".*[}+*?]\+",
        -1,
    ),
}
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)

Words = Mapping[str, Sequence[str]]


class BadPattern(ValueError):
    """A phrase or expression that a rule may not have; says why, and what to write instead.

    `position`: of the character at fault, counted from 0, if there is one.
    """

    def __init__(self, why: str, position: int | None = None) -> None:
        super().__init__(why)
        self.position = position


def of_phrase(phrase: str, words: Words) -> tuple[bytes, ...]:
    """Return a phrase's patterns, any of which matches it: with and without words in its gaps. Raises BadPattern."""
    _check_telling(phrase)
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


def _check_telling(phrase: str) -> None:
    """Refuse text that would match replies of every kind, or none."""
    if (found := _PLACEHOLDER.search(phrase)) is not None:
        instead = "@" if found[0] == "<address>" else "*"
        why = f"templates use {found[0]} for variable parts, replies do not contain it; write {instead} instead"
        raise BadPattern(why, found.start())
    words = [word for token in phrase.split() for word in comparable(token.rstrip("*")).decode().split()]
    if (part := next((word for word in words if "@" in word and word != "@"), None)) is not None:
        raise BadPattern(f"«{part}» is a part of an address, and rules see every address as @; leave it out")
    telling = [word for word in words if word != "@"]
    if words and len(telling) <= 1 and "".join(telling or "0").isdigit():
        raise BadPattern(
            f"«{phrase}» occurs in replies of every kind: rules see every address as @, and a number says little; "
            "add words, or put a code under `reply`"
        )


def _literal(token: str) -> str:
    plain = comparable(token.rstrip("*")).decode().strip()
    return re.escape(plain) + (_WORD_ENDS if token.endswith("*") else "") if plain else ""


def _alternatives(name: str, words: Words) -> str:
    if name not in words:
        raise BadPattern(f"there are no words under the name «{name}»")
    return "(?:" + "|".join(re.escape(comparable(word).decode().strip()) for word in words[name]) + ")"


def _whole(text: str) -> str:
    """Match only whole words: a space at either end. Scripts written without spaces need none."""
    begins = "" if ord(text[0]) > _LAST_LATIN else " "
    if text.endswith(_WORD_ENDS):
        return begins + text.removesuffix(_WORD_ENDS)
    return begins + text + ("" if ord(text[-1]) > _LAST_LATIN else " ")


def of_expression(expression: str) -> bytes:
    """Return the checked pattern of a regular expression. Raises BadPattern with the position if there is one."""
    if len(expression) > LONGEST_EXPRESSION:
        why = f"an expression may have at most {LONGEST_EXPRESSION} characters; write several, or use `contains`"
        raise BadPattern(why, LONGEST_EXPRESSION)
    for thing in _THING.finditer(expression):
        if thing[0] == "[":
            raise BadPattern(f"«{expression}» is not a regular expression: a class without its ]", thing.start())
        if thing[0].startswith("[") and _NESTED.search(thing[0], 1):
            raise BadPattern(
                "[ -- && || and ~~ in a class mean something else to each engine; write \\[", thing.start()
            )
    if (at := place_of(r"\\(?:x[89a-fA-F]|[1-7][0-7]{2})|\[.*\\(?:x[89a-fA-F]|[1-7][0-7]{2})", expression)) is not None:
        raise BadPattern("an escape beyond ASCII is not a letter; write the letter itself, like é", at)
    try:
        tree = _parser.parse(expression)
        encoded = expression.encode()
        re.compile(encoded)  # engines see bytes, where \\u and \\N mean nothing
    except re.error as error:
        raise BadPattern(f"«{expression}» is not a regular expression: {error.msg}", error.pos) from error
    except UnicodeEncodeError as error:
        raise BadPattern("half of a surrogate pair is not a character; write the whole one", error.start) from error
    except (OverflowError, RecursionError) as error:
        raise BadPattern("a repeat or nesting is too large; write it out, or as several expressions") from error
    if tree.state.flags & ~re.UNICODE.value:
        why = "flags inside an expression are useless: the text is already in lower case; leave them out"
        raise BadPattern(why, place_of(r"\(\?[aiLmsux-]", expression))
    if (at := expression.find("\0")) >= 0:
        raise BadPattern("no text contains NUL; leave it out", at)
    _Check(expression).walk(tree, 1)
    if ways(tree) > MOST_WAYS:
        why = "it can match a text in too many ways; lower its repeats' bounds, or let what follows a repeat differ"
        raise BadPattern(why, place_of(r"[*+?]|\{", expression))
    if tree.getwidth()[0] == 0:
        raise BadPattern(f"«{expression}» matches the empty text, and so every text; name a word that must occur")
    if re.search(encoded, _IN_ANY_REPLY):
        raise BadPattern(f"«{expression}» matches texts with only numbers or an address; name a word beside them")
    return encoded


# one token of an expression: an escape, a whole class, a group's beginning, a repeat, or a character
_THING = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|[0-7]{3}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P[<=]|<?[=!]|.)|\{\d*,?\d*\}\+?|[*+?]\+?|.",
    re.DOTALL,
)


_NESTED = re.compile(r"(?<!\\)\[|--|&&|\|\||~~")


def place_of(wanted: str, expression: str, which: int = 0) -> int | None:
    """Return where the first token that matches `wanted` (an expression too) begins, ignoring escapes and classes.
    `which` character of it: 0 the first, -1 the last."""
    search = re.compile(wanted)
    things = _THING.finditer(expression)
    return next((range(*thing.span())[which] for thing in things if search.match(thing[0])), None)


@dataclass(frozen=True, slots=True)
class _Check:
    """One walk through the tree of an expression."""

    expression: str

    def walk(self, tree: Any, times: int) -> None:
        """`times`: how often the enclosing repeats may repeat it."""
        for op, value in tree:
            if op in _REFUSED:
                why, begins, which = _REFUSED[op]
                raise BadPattern(why, place_of(begins, self.expression, which))
            if op in _REPEATS:
                self._repeat(value, times)
            elif op is sre.LITERAL and 65 <= value <= 90:
                letter = chr(value)
                why = f"«{letter}» never matches: the text is in lower case; write «{letter.lower()}»"
                raise BadPattern(why, place_of(re.escape(letter), self.expression))
            elif op is sre.IN:
                self._class(value)
            elif op is sre.BRANCH:
                for branch in value[1]:
                    self.walk(branch, times)
            elif op is sre.SUBPATTERN:
                _, on, off, inner = value
                if on or off:
                    why = "flags inside an expression are useless; write (?:…)"
                    raise BadPattern(why, place_of(r"\(\?[aiLmsux-]", self.expression))
                self.walk(inner, times)

    def _repeat(self, value: Any, times: int) -> None:
        least, most, inner = value
        if most is sre.MAXREPEAT:
            why = f"a repeat must have an upper bound; write {{{least},40}} instead of + or *"
            raise BadPattern(why, place_of(r"[*+]|\{\d*,\}", self.expression))
        if most > LONGEST_REPEAT or times * most > 4 * LONGEST_REPEAT:
            why = f"repeats of more than {LONGEST_REPEAT}, or repeats of repeats, cost too much; write {{{least},40}}"
            long = (thing.start() for thing in _THING.finditer(self.expression) if _count(thing[0]) == most)
            raise BadPattern(why, next(long, None))
        self.walk(inner, times * max(most, 1))

    def _class(self, members: Any) -> None:
        for op, value in members:
            ends = value if op is sre.RANGE else (value,) if op is sre.LITERAL else ()
            if any(end > 127 for end in ends):
                if (place := place_of(r"\[[^\x00-\x7f]*.*[^\x00-\x7f]", self.expression)) is not None:
                    raise BadPattern("a class must not contain letters beyond ASCII; write (?:é|è)", place)
                return  # it is (?:é|è), which the parser treats alike


def _count(thing: str) -> int | None:
    """Return the upper bound of `{2,300}`; None if it is not such a repeat."""
    found = re.fullmatch(r"\{\d*,?(\d+)\}\+?", thing)
    return int(found[1]) if found else None
