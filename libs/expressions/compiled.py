"""Compile and evaluate CEL: every error is a sentence, every evaluation is bounded."""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cel

from libs.errors import FieldError, Invalid
from libs.expressions.dialect import ENGINE_NAMES, TYPES, for_engine
from libs.expressions.explained import explained
from libs.expressions.functions import CORE, FUNCTIONS
from libs.expressions.source import MACROS, Branches, Path, Work, analyse
from libs.expressions.values import (
    MAX_STEPS,
    Size,
    Trie,
    exact_numbers,
    follow,
    measured,
    pruned,
    restored,
    rounded,
    steps,
    value_at,
)

# the engine warns about each failing function; EvaluationFailed tells the person who can fix it, a log would only grow
logging.getLogger("cel").setLevel(logging.CRITICAL)
_WHERE = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_ENGINE_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

Key = tuple[tuple[type, Any], ...]
_SCALARS = frozenset((bool, int, str, type(None)))  # no decimals: 1.0 and 1.00 are equal but not the same
_ANEW = object()
_MOST_KNOWN = 256  # cached results per expression
_FEW_JOINS = 3  # by +: a few copies of the largest event take too little time to be worth measuring
_FEW_STATES = 40  # of patterns: likewise
_LONGEST_KNOWN = 64  # characters of a cached text


class EvaluationFailed(Invalid):
    """A compiled expression has no result for this input."""

    slug = "expression-failed"
    title = "The expression cannot be evaluated for this input"


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled text; created by `compile_expression`, evaluated any number of times."""

    source: str
    paths: tuple[Path, ...]
    pointer: str
    _program: Any
    _inputs: frozenset[Path]  # the values that the engine needs
    _tested: frozenset[Path]  # those of which it only needs to know whether they exist
    _path: Path | None
    _branches: Branches | None  # the program is the condition of `… ? path : path`
    _work: Work
    _functions: tuple[str, ...]
    _known: dict[Key, Any] = field(default_factory=dict)

    def evaluate(self, context: "Context") -> Any:
        """Return the result as Python values, numbers exact. Raises EvaluationFailed saying what is missing."""
        try:
            if self._path is not None:  # a bare path needs no CEL, and keeps every digit
                return follow(context.values, self._path)
            key = self._key(context.values)
            # one look: another thread, with a large event, may empty it behind that
            if key is not None and (known := self._known.get(key, _ANEW)) is not _ANEW:
                return known
            if "string" in self._functions:
                self._refuse_rounding(context.values)
            prepared = context.prepared(self)
            if self._work.depth or self._work.joins > _FEW_JOINS or self._work.states > _FEW_STATES:
                self._refuse_overwork(context)
            result = self._program.execute(prepared)
            plain = self._plain(result, context) if self._branches is None else self._branch(result, context.values)
        except _ENGINE_ERRORS as error:
            raise EvaluationFailed(explained(error, self.source), pointer=self.pointer) from error
        if key is not None and type(plain) in _SCALARS:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = plain
        return plain

    def _branch(self, condition: Any, values: Mapping[str, Any]) -> Any:
        """Return the chosen path's value: it does not pass the engine, which would copy it, and keeps every digit."""
        if not isinstance(condition, bool) or self._branches is None:
            raise TypeError
        path = self._branches[0 if condition else 1]
        return None if path is None else follow(values, path)

    def _key(self, values: Mapping[str, Any]) -> Key | None:
        """Return the values that the result depends on, as a cache key. Carriers and countries recur, and passing them
        to the engine costs more than everything else. None if a value is missing, long or not a scalar."""
        key: list[tuple[type, Any]] = []
        for path in self.paths:
            value = value_at(values, path, _ANEW)
            if type(value) not in _SCALARS or (type(value) is str and len(value) > _LONGEST_KNOWN):
                return None
            key.append((type(value), value))
        return tuple(key)

    def _refuse_rounding(self, values: Mapping[str, Any]) -> None:
        """Two long ids that differ in their last digits would become one text."""
        for path in self._inputs:
            if rounded(value_at(values, path)):
                raise EvaluationFailed(
                    f"{'.'.join(path)} is an integer beyond 64 bits, which string() would round; use the field itself.",
                    pointer=self.pointer,
                )

    def _refuse_overwork(self, context: "Context") -> None:
        needed_steps = steps(self._work, context.size())
        if needed_steps > MAX_STEPS:
            raise EvaluationFailed(
                f"The input is too large for this expression: up to {needed_steps:,} steps; {MAX_STEPS:,} are "
                "allowed. Nest fewer list macros, join fewer texts, use shorter patterns, or send less data.",
                pointer=self.pointer,
            )

    def _plain(self, result: Any, context: "Context") -> Any:
        if isinstance(result, bool | str | int) or result is None:
            return result
        if isinstance(result, cel.OptionalValue):
            result = result.or_value(None)
        if isinstance(result, float | list | dict):
            return restored(result, context.exact_numbers())
        return result


class Needs:
    """The union of what several expressions read in the engine: computed once, used for every event."""

    __slots__ = ("expressions", "functions", "trie")

    def __init__(self, expressions: Iterable[Expression]) -> None:
        self.expressions = frozenset(expressions)
        in_engine = [expression for expression in self.expressions if expression._path is None]
        self.trie = Trie.of(
            (path for expression in in_engine for path in expression._inputs),
            (path for expression in in_engine for path in expression._tested),
        )
        self.functions = sorted({name for expression in self.expressions for name in expression._functions})


def needed(expressions: Iterable[Expression]) -> Needs:
    """Return what these expressions read together."""
    return Needs(expressions)


_NO_NEEDS = Needs(())


class Context:
    """The input of one event. The values that are read are converted to CEL, once."""

    __slots__ = ("_exact", "_inner", "_needs", "_pruned", "_size", "values")

    def __init__(self, values: Mapping[str, Any], needs: Needs | None = None) -> None:
        self.values = values
        self._needs = needs or _NO_NEEDS
        self._inner: Any = None
        self._pruned: dict[str, Any] = {}  # filled when an expression first needs the engine; bare paths do not
        self._size: Size | None = None
        self._exact: dict[float, Any] | None = None

    def prepared(self, expression: Expression) -> Any:
        """Return the engine's context, with at least the values that the expression reads."""
        if expression not in self._needs.expressions:
            self._needs = Needs((*self._needs.expressions, expression))
            self._inner = None
        if self._inner is None:
            self._forget()
            inner = cel.Context()
            for name, value in self._pruned.items():
                inner.add_variable(name, value)
            for name in self._needs.functions:
                inner.add_function(ENGINE_NAMES.get(name, name), FUNCTIONS[name])
            self._inner = inner
        return self._inner

    def _forget(self) -> None:
        self._pruned = pruned(self.values, self._needs.trie) if self._needs.trie else {}
        self._size = None
        self._exact = None

    def size(self) -> Size:
        """Return the size of the part that is read."""
        if self._size is None:
            self._size = measured(list(self._pruned.values()))
        return self._size

    def exact_numbers(self) -> dict[float, Any]:
        """Return the exact numbers behind the doubles that the engine saw."""
        if self._exact is None:
            self._exact = exact_numbers(self._pruned)
        return self._exact


def compile_expression(text: str, *, variables: Collection[str], pointer: str = "") -> Expression:
    """Compile a CEL text that may read `variables`. Raises Invalid with every problem found, at `pointer`."""
    found = analyse(text)
    problems = list(found.problems)
    program = None
    if not problems:
        program, problems = _compiled(for_engine(text, {*variables, *found.locals}))
    if program is not None:
        problems.extend(_unknown(found.roots - TYPES, variables))
        problems.extend(_uncallable(found.called))
        problems.extend(_unmatchable(found.patterns))
    if problems:
        raise Invalid.many([FieldError(pointer, problem) for problem in problems])
    engine, choice = found, found.choice
    if choice is not None and all(path is None or path[0] in variables for path in choice.branches):
        engine = analyse(choice.condition)
        program, _ = _compiled(for_engine(choice.condition, {*variables, *found.locals}))
    else:
        choice = None
    return Expression(
        source=text,
        paths=tuple(sorted(path for path in found.paths if path[0] in variables)),
        pointer=pointer,
        _program=program,
        _inputs=frozenset(path for path in engine.paths - engine.tested if path[0] in variables),
        _tested=frozenset(path for path in engine.tested if path[0] in variables),
        _path=found.only_path,
        _branches=choice.branches if choice else None,
        _work=found.work,
        _functions=tuple(sorted(found.called & FUNCTIONS.keys())),
    )


def _compiled(text: str) -> tuple[Any, list[str]]:
    try:
        return cel.compile(text), []
    except ValueError as error:
        found = _WHERE.findall(str(error)) or [("1", "1", "it cannot be parsed")]
        return None, [
            f"Not a CEL expression: line {line}, column {column}: {_shortened(message)}."
            for line, column, message in found[:5]
        ]


def _shortened(message: str) -> str:
    shorter = message.split(" expecting {")[0].replace("mismatched input '<EOF>'", "it ends too early")
    return shorter.replace("'<EOF>'", "its end").strip().rstrip(".")[:200]


def _unknown(roots: set[str], variables: Collection[str]) -> list[str]:
    known = ", ".join(sorted(variables))
    return [f"The variable {name!r} is not known here; use one of: {known}." for name in sorted(roots - set(variables))]


def _uncallable(called: set[str]) -> list[str]:
    unknown: Sequence[str] = sorted(called - CORE - FUNCTIONS.keys())
    return [
        f"{name}() needs a variable name first, as in items.{name}(item, item.price > 10)."
        if name in MACROS
        else f"The function {name}() does not exist; see the list of functions in the documentation."
        for name in unknown
    ]


def _unmatchable(patterns: Iterable[str]) -> list[str]:
    return [f"{pattern[:80]} is not a regular expression (RE2)." for pattern in patterns if not _is_pattern(pattern)]


def _is_pattern(literal: str) -> bool:
    try:
        cel.compile(f'"".matches({literal})').execute(cel.Context())
    except _ENGINE_ERRORS:
        return False
    return True
