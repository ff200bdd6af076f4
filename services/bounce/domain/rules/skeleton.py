"""Owns the skeleton of a reply: its words, with ids blanked out that no rule of a set inspects.

Replies of one kind differ in queue ids and times. Two of them have the same skeleton only if each pattern of the set is
in both or in neither, so that they have the same verdict. That is derived from the patterns: all that they require of
single letters and digits is a whole word (`exact`), a word's beginning (`prefixes`), or a part of a word (`anywhere`).
An id that neither equals, begins with nor contains any of these is the same to all patterns as any other id of its
length, and becomes a blank of that length. With a pattern that cannot be analysed, a set blanks out nothing.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from services.bounce.domain.rules.patterns import GAP
from services.bounce.domain.rules.pieces import Alternatives, AnyChar, Chars, Letter, Piece, Unreadable, read

SHORTEST = 6
LONGEST = 60
_SHAPE = re.compile(rb"[a-z]{0,20}[0-9][a-z0-9]{5,39}")  # of an id, within SHORTEST and LONGEST
# an id from its first digit on: searching from digit to digit is fastest
_tail = re.compile(rb"[0-9][a-z0-9]{5,39}+(?![^ ])").search
_MOST_LETTERS = 20
_BLOTS = [b"\0" * length for length in range(LONGEST + 1)]
_MOST_STATES = 200
_GAP = f" {GAP} ".encode()
_WORDS = re.compile(rb" (?:[a-z0-9@=\x80-\xff]+ )+")  # only whole words


class _State(NamedTuple):
    """A pattern's position in a word of the text, and what it has required of that word so far.

    `loose`: the position may be anywhere in the word. `run`: the letters required since. `short`: the number of other
    characters required, `digit`: whether digits would match them. `done`: the requirement on this word is already
    recorded.
    """

    loose: bool = False
    run: bytes = b""
    short: int = 0
    digit: bool = False
    done: bool = False


_START, _LOOSE, _DONE = _State(), _State(loose=True), _State(done=True)
_States = frozenset[_State]


def _without_gaps(pattern: bytes) -> bytes:
    """Drop gaps: a gap between words requires nothing of any word."""
    return pattern.replace(b"\\ ", b" ").replace(_GAP, b" ")


class _Notes:
    """A pattern's requirements on single characters in words. Raises Unreadable for one that cannot be recorded."""

    def __init__(self, pattern: bytes) -> None:
        self.exact: set[bytes] = set()
        self.prefixes: set[bytes] = set()
        self.anywhere: set[bytes] = set()
        if _WORDS.fullmatch(pattern):
            self.exact.update(pattern.split())
            return
        for state in self._walk(read(pattern), frozenset([_LOOSE])):
            self._open(state)

    def _walk(self, alternatives: Alternatives, before: _States) -> _States:
        after: set[_State] = set()
        for sequence in alternatives:
            states = before
            for piece in sequence:
                states = self._repeated(piece, states)
            after |= states
        return frozenset(after)

    def _repeated(self, piece: Piece, before: _States) -> _States:
        item, least, most = piece
        if isinstance(item, Chars | AnyChar):
            # if it is optional, what is recorded with it holds without it too
            return frozenset(self._class(item, most, state) for state in before)
        after = before if least == 0 else frozenset()
        states = before
        for _ in range(most):
            states = self._letter(item, states) if isinstance(item, Letter) else self._walk(item, states)
            if states <= after:
                break  # a fixed point
            after |= states
            if len(after) > _MOST_STATES:
                raise Unreadable
        return after

    def _letter(self, letter: Letter, before: _States) -> _States:
        return frozenset(self._read(letter, state) for state in before)

    def _read(self, letter: Letter, state: _State) -> _State:
        if letter.is_edge:
            self._close(state)
            return _START
        if not letter.is_plain:
            return _DONE  # no id contains these, nor does the rest of such a word
        if state.done:
            return state
        if state.short:
            return state._replace(short=state.short + 1, digit=state.digit or letter.char.isdigit())
        return state._replace(run=state.run + letter.char)

    def _class(self, item: Chars | AnyChar, most: int, state: _State) -> _State:
        if isinstance(item, Chars) and item.is_edge:
            self._close(state)
            return _START
        if isinstance(item, Chars) and not item.is_every:  # some of the letters and digits
            if state.done or state.run:
                return self._open(state)
            if state.loose:
                raise Unreadable
            return state._replace(short=state.short + most, digit=state.digit or item.has_digits)
        if state.done and isinstance(item, Chars):
            return state
        opened = self._open(state)
        return opened if isinstance(item, Chars) and opened.done else _LOOSE

    def _close(self, state: _State) -> None:
        """Handle the end of the word."""
        if state.run:
            (self.anywhere if state.loose else self.exact).add(state.run)
        if state.short >= SHORTEST and state.digit:
            raise Unreadable

    def _open(self, state: _State) -> _State:
        """Handle a word that may continue in any way."""
        if state.short:
            raise Unreadable
        if state.run:
            (self.anywhere if state.loose else self.prefixes).add(state.run)
            return _DONE
        return state


@lru_cache(maxsize=32_768)
def _notes(pattern: bytes) -> _Notes | None:
    """Analyse a pattern; cached, since the next rule set has nearly the same ones. None: unreadable."""
    try:
        return _Notes(pattern)
    except Unreadable:
        return None


class Skeletons:
    """Skeletons of folded texts, by the patterns of one rule set. `blots`: whether ids are blanked out at all."""

    def __init__(self, patterns: Iterable[bytes]) -> None:
        found = [_notes(pattern) for pattern in {_without_gaps(pattern) for pattern in patterns}]
        readable = [notes for notes in found if notes is not None]
        self.blots = len(readable) == len(found)
        self._exact = frozenset(word for notes in readable for word in notes.exact if _SHAPE.fullmatch(word))
        self._anywhere = tuple(sorted({part for notes in readable for part in notes.anywhere}))
        by_first: dict[int, list[bytes]] = {}
        for prefix in sorted({prefix for notes in readable for prefix in notes.prefixes}):
            by_first.setdefault(prefix[0], []).append(prefix)
        self._prefixes = {first: tuple(listed) for first, listed in by_first.items()}

    def of(self, words: bytes) -> bytes:
        """Return the skeleton of a comparable or folded text, of the same length."""
        found = _tail(words) if self.blots else None
        while found is not None:
            digit, end = found.span()
            begin = words.rfind(b" ", 0, digit) + 1
            if begin == digit or (digit - begin <= _MOST_LETTERS and words[begin:digit].isalpha()):
                word = words[begin:end]
                if not self._is_seen(word):
                    words = words[:begin] + _BLOTS[end - begin] + words[end:]
            found = _tail(words, end)
        return words

    def _is_seen(self, word: bytes) -> bool:
        """Whether some pattern inspects it."""
        if word.startswith(self._prefixes.get(word[0], ())) or word in self._exact:
            return True
        for part in self._anywhere:  # noqa: SIM110 - any() over a generator takes twice as long
            if part in word:
                return True
        return False
