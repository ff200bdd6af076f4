"""What a CEL text reads and how much work it can cause, derived from its tokens before it is compiled.

CEL has no cost limit of its own: three nested `all` over 120 items block the interpreter for half a second, and a
chain of `.map(y, y + y)` doubles memory at each link. So this module bounds length, tokens, nesting and growth, and
`Work` describes how the effort grows with the input, for the check before each evaluation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from libs.expressions.patterns import states

MAX_LENGTH = 4_096  # characters
MAX_TOKENS = 1_000  # the engine recurses on the stack: 2,000 chained operators overflow a small thread's
MAX_BRACKETS = 40
MAX_MACRO_DEPTH = 2
MAX_MACROS = 12
MAX_GROWTH = 64  # how many times larger than its input a result may become

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_BUILDING = frozenset({"map", "filter"})
_LITERALS = frozenset({"true", "false", "null", "in"})
_MULTIPLYING = frozenset({"replace", "join"})  # their result may be far longer than each argument
_NAMESPACES = frozenset({"math", "optional"})

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
        |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_STRING = re.compile(r"""^(['"])([^\\]*)\1$""")

Path = tuple[str, ...]
Branches = tuple[Path | None, Path | None]  # None: null


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a CEL text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Work:
    """How effort grows with the input: longest ** depth × growth, × largest if a map reads outside itself, × its texts
    if any macro does; `joins` copies of the texts joined by +, each longer than the one before; `states` of
    patterns per character; and the results so far of the `builders` (map, filter), copied for each item."""

    depth: int
    growth: int
    reads_outside: bool
    literal_items: int
    looks_outside: bool = False
    joins: int = 0
    states: int = 0
    builders: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A whole text of the form `condition ? path : path`, where either may be null."""

    condition: str
    branches: Branches


@dataclass(slots=True)
class Analysis:
    """What one text reads, calls and costs. `tested`: paths that it only tests by has(), not their values. `problems`
    are sentences for people."""

    paths: set[Path] = field(default_factory=set)
    tested: set[Path] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    locals: set[str] = field(default_factory=set)
    patterns: list[str] = field(default_factory=list)  # literal regular expressions in the text, with their quotes
    only_path: Path | None = None
    choice: Choice | None = None
    work: Work = Work(0, 1, False, 0)
    problems: list[str] = field(default_factory=list)

    @property
    def roots(self) -> set[str]:
        """Return the variables that must be given."""
        return {path[0] for path in self.paths} - self.locals


@dataclass(slots=True)
class _Macro:
    name: str
    local: str
    references: int = 0
    outside: bool = False


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text; anything that is not CEL becomes single signs, for the compiler to reject."""
    return [
        Token(match.lastgroup or "sign", match.group()) for match in TOKEN.finditer(text) if match.lastgroup != "space"
    ]


def analyse(text: str) -> Analysis:
    """Analyse a text without evaluating it."""
    found = Analysis()
    if len(text) > MAX_LENGTH:
        found.problems.append(f"The expression has {len(text)} characters; {MAX_LENGTH} are allowed.")
        return found
    line = tokens(text)
    if len(line) > MAX_TOKENS:
        found.problems.append(f"The expression has {len(line)} parts; {MAX_TOKENS} are allowed. Split the expression.")
        return found
    _Walk(line, found).run()
    return found


class _Walk:
    """One pass over the tokens, with the open brackets as a stack; a macro's bracket carries the macro."""

    def __init__(self, line: list[Token], found: Analysis) -> None:
        self._line = line
        self._found = found
        self._open: list[_Macro | None] = []
        self._macros: list[_Macro] = []
        self._read: set[Path] = set()  # not only by has()
        self._depth = 0
        self._counts_outside = False  # size() of something outside the item: all of it is passed for each item

    def run(self) -> None:
        skip_to = 0
        for index, token in enumerate(self._line):
            if token.kind == "sign":
                self._bracket(index, token.text)
            elif token.kind == "name" and index >= skip_to and token.text not in _LITERALS:
                skip_to = self._name(index, token.text)
        self._conclude()

    def _text(self, index: int) -> str:
        return self._line[index].text if 0 <= index < len(self._line) else ""

    def _bracket(self, index: int, sign: str) -> None:
        if sign in "([{":
            self._open.append(self._macro(index) if sign == "(" else None)
            if len(self._open) == MAX_BRACKETS + 1:
                self._found.problems.append(f"Brackets are nested deeper than {MAX_BRACKETS}; simplify the expression.")
            self._depth = max(self._depth, sum(frame is not None for frame in self._open))
        elif sign in ")]}" and self._open:
            self._open.pop()

    def _macro(self, index: int) -> _Macro | None:
        is_method = self._text(index - 1) in MACROS and self._text(index - 2) == "."
        if not is_method or self._text(index + 2) != ",":
            return None
        macro = _Macro(self._text(index - 1), self._text(index + 1))
        self._macros.append(macro)
        self._found.locals.add(macro.local)
        return macro

    def _name(self, index: int, name: str) -> int:
        """Process the name at `index`; return the index to continue from."""
        if self._text(index - 1) == ".":
            if self._text(index + 1) == "(" and name not in MACROS:
                self._called(name, index)
            return index + 1
        if self._text(index + 1) == "(":
            self._called(name, index)
            return index + 1
        if name in _NAMESPACES and self._text(index + 1) == "." and self._text(index + 3) == "(":
            self._found.called.add(f"{name}.{self._text(index + 2)}")
            return index + 3
        path, end = self._path(index, name)
        self._found.paths.add(path)
        if (self._text(index - 2), self._text(index - 1), self._text(end)) != ("has", "(", ")"):
            self._read.add(path)
        for macro in self._open:
            if macro is not None:
                macro.references += 1
                macro.outside = macro.outside or name not in {m.local for m in self._open if m is not None}
        if index == 0 and end == len(self._line):
            self._found.only_path = path
        return end

    def _called(self, name: str, index: int) -> None:
        self._found.called.add(name)
        if name == "matches":
            self._matched(index)
        if name in _MULTIPLYING:
            for macro in self._open:
                if macro is not None:
                    macro.outside = True
        locals_here = {macro.local for macro in self._open if macro is not None}
        if name == "size" and locals_here and self._sized(index) not in locals_here:
            self._counts_outside = True

    def _matched(self, index: int) -> None:
        if self._text(index - 1) == "." and self._kind(index + 2) == "string" and self._text(index + 3) == ")":
            self._found.patterns.append(self._text(index + 2))
        else:  # a pattern from an event could run for minutes
            self._found.problems.append("matches() needs its pattern in quotes, as in text.matches('^A-[0-9]+$').")

    def _sized(self, index: int) -> str:
        """Return the root of what `size` at `index` counts: `i` of `size(i.sku)` and of `i.sku.size()`."""
        if self._text(index - 1) != ".":
            return self._text(index + 2)
        at = index - 2
        while self._text(at - 1) == ".":
            at -= 2
        return self._text(at)

    def _path(self, index: int, root: str) -> tuple[Path, int]:
        path, at = [root], index + 1
        while True:
            literal = _PLAIN_STRING.match(self._text(at + 1))
            if self._text(at) == "." and self._kind(at + 1) == "name" and self._text(at + 2) != "(":
                path.append(self._text(at + 1))
                at += 2
            elif self._text(at) == "[" and self._text(at + 2) == "]" and literal:
                path.append(literal.group(2))
                at += 3
            else:
                return tuple(path), at

    def _kind(self, index: int) -> str:
        return self._line[index].kind if 0 <= index < len(self._line) else ""

    def _choice(self) -> Choice | None:
        marks = [index for index, token in enumerate(self._line) if token.kind == "sign" and token.text in "?:"]
        if [self._text(index) for index in marks] != ["?", ":"] or self._text(marks[0] - 1) in (".", "["):
            return None
        ask, otherwise = marks
        branches = [self._branch(ask + 1, otherwise), self._branch(otherwise + 1, len(self._line))]
        if None in branches:
            return None
        condition = " ".join(token.text for token in self._line[:ask])
        return Choice(condition, (branches[0] or None, branches[1] or None))

    def _branch(self, index: int, end: int) -> Path | None:
        """Return the path that these tokens are; () for null, None for anything else."""
        if (self._text(index), index + 1) == ("null", end):
            return ()
        if self._kind(index) != "name" or self._text(index) in _LITERALS:
            return None
        path, stops = self._path(index, self._text(index))
        return path if stops == end else None

    def _conclude(self) -> None:
        self._found.tested = self._found.paths - self._read
        self._found.choice = self._choice()
        growth = 1
        maps = [macro for macro in self._macros if macro.name == "map"]
        for macro in maps:
            growth *= max(1, macro.references - 1)  # one reference is the local's own declaration
        outside = self._counts_outside or any(macro.outside for macro in maps)
        commas = sum(token.text == "," for token in self._line)
        self._found.work = Work(
            self._depth,
            growth,
            outside,
            commas + 1,
            looks_outside=any(macro.outside for macro in self._macros),
            joins=sum(token.text == "+" for token in self._line),
            builders=sum(macro.name in _BUILDING for macro in self._macros),
            states=sum(states(pattern) for pattern in self._found.patterns),
        )
        self._found.problems.extend(self._excesses(growth))

    def _excesses(self, growth: int) -> Iterator[str]:
        if self._depth > MAX_MACRO_DEPTH:
            yield (
                f"all, exists, map and filter are nested {self._depth} deep; {MAX_MACRO_DEPTH} is the limit, "
                "because each level multiplies the work."
            )
        if len(self._macros) > MAX_MACROS:
            yield f"The expression has {len(self._macros)} list macros; {MAX_MACROS} are allowed."
        if growth > MAX_GROWTH:
            yield "Chained map() calls multiply the list beyond the limit; use each value once in a map()."
