"""One Liquid source, compiled: rendered by a list of small functions if it has no tags, else by Liquid itself.

Most texts are words and `{{ … }}`; for those the functions return what Liquid returns, four times as fast (a test
compares the two on generated templates). Everything else goes through Liquid in a bounded context.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from liquid import Undefined
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.arguments import PositionalArgument
from liquid.builtin.expressions.primitive import Literal
from liquid.exceptions import LiquidError, OutputStreamLimitError, ResourceLimitError
from liquid.output import LimitedStringIO

from libs.errors import FieldError, Invalid
from libs.rendering.analysis import Use, Uses, prefixes, walk
from libs.rendering.bounds import BoundedContext
from libs.rendering.contents import Woven
from libs.rendering.dialect import Perhaps
from libs.rendering.environment import AS_IT_IS, BoundedTemplate, ChannelEnvironment, OutputNode
from libs.rendering.faults import explained
from libs.rendering.html_context import Placement
from libs.rendering.limits import MAX_SHORT_SOURCE, VALUE_ERRORS, ContentTooLarge, LimitExceeded, RenderFailed
from libs.rendering.links import checked_start
from libs.rendering.meter import METER
from libs.rendering.placed import Alone, LinkStart, guard, placement_of
from libs.rendering.precheck import problems_before_parsing
from libs.rendering.schema import check_uses
from libs.rendering.syntax import all_faults, without
from libs.rendering.values import stringify

Variables = Mapping[str, Any]
Function = Callable[[Variables], str]

_LINE = re.compile(r"\b[Ll]ines? (\d+)")
LIQUIDS_OWN = frozenset({"size", "first", "last"})  # properties that Liquid derives from a value


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to compile a source: the environment, the maximum length, and the pointer for its errors."""

    environment: ChannelEnvironment
    pointer: str
    max_source: int = MAX_SHORT_SOURCE
    max_output: int = MAX_SHORT_SOURCE


class Text:
    """A compiled source. `constant` is its text if it has no variables; `literals` surround the values."""

    __slots__ = ("_functions", "_room", "_template", "_wanted", "_works", "constant", "doubts", "literals", "uses")

    def __init__(self, source: str, wanted: Wanted) -> None:
        """Compile. Raises Invalid with every problem of the source."""
        template, placement, found = _checked(source, wanted)
        self._wanted = wanted
        self._template = template
        self.uses: tuple[Use, ...] = tuple(found.uses)
        self.doubts = tuple(found.doubts)
        guard(template, placement)
        self.literals, self._functions = _pieces(template)
        self._room = wanted.max_output - sum(map(len, self.literals))  # characters left for the values
        # whether there is work to count: loops and filters
        self._works = self._functions is None or _has_filters(template)
        self.constant: str | None = self.literals[0] if self._functions == [] else None

    @property
    def paths(self) -> set[tuple[str, ...]]:
        """Return the paths that it reads, from the root of the variables."""
        return {use.path for use in self.uses if use.path is not None}

    @property
    def least_bytes(self) -> int:
        """Return the text's minimum size, whatever the variables: its literal parts outside blocks."""
        nodes = self._template.nodes
        return sum(len(node.text.encode()) for node in nodes if isinstance(node, ContentNode))

    def render(self, variables: Variables) -> str:
        """Return the text. Raises RenderFailed (or LimitExceeded) naming what is missing or unsuitable."""
        return str(self.weave(variables))

    def weave(self, variables: Variables) -> str | Woven:
        """Return the text, not yet joined if Liquid was not needed. Raises as `render` does."""
        if self._works:
            METER.start()
        try:
            if self._functions is None:
                return self.render_by_liquid(variables)
            values = [function(variables) for function in self._functions]
            if sum(map(len, values)) > self._room:
                raise OutputStreamLimitError("output stream limit reached", token=None)
        except VALUE_ERRORS as error:
            raise _failed(self._again(error, variables), self._wanted.pointer) from error
        return Woven(self.literals, values)

    def _again(self, error: BaseException, variables: Variables) -> BaseException:
        """Return the error as Liquid itself raises it: with its position."""
        if getattr(error, "token", None) is None:
            try:
                self.render_by_liquid(variables)
            except VALUE_ERRORS as found:
                return found
        return error

    def render_by_liquid(self, variables: Variables) -> str:
        """Render the text by Liquid itself."""
        buffer = LimitedStringIO(limit=self._wanted.max_output)
        self._template.render_with_context(BoundedContext(self._template, globals=variables), buffer)
        return buffer.getvalue()


def _checked(source: str, wanted: Wanted) -> tuple[BoundedTemplate, Placement | None, Uses]:
    """Parse a source. Raises Invalid with every problem that can be found, in the order of their lines."""
    if len(source) > wanted.max_source:
        raise Invalid(
            f"The text has {len(source):,} characters; {wanted.max_source:,} are allowed.", pointer=wanted.pointer
        )
    early = list(problems_before_parsing(source))
    problems = [each.sentence for each in early]
    if any(each.end is None for each in early):
        raise _invalid(problems, wanted)
    placement = placement_of(source, wanted.environment.kind)
    problems += [f"Line {line}: {problem}." for line, problem in placement.problems] if placement else []
    try:
        template, sentences = _parsed(without(early, source), wanted.environment, whole=not early)
        found = walk(template) if template is not None else Uses()
    except RecursionError as error:
        raise _invalid([*problems, explained(error)], wanted) from error
    problems += [*sentences, *found.problems]
    if problems or template is None:
        problems += [*found.doubts, *(sentence for _, sentence in check_uses(found.uses, None).problems)]
        raise _invalid(problems, wanted)
    return template, placement, found


def _parsed(source: str, environment: ChannelEnvironment, *, whole: bool) -> tuple[BoundedTemplate | None, list[str]]:
    """Parse a source. Returns the template, of what is right in it if not all is, and what is wrong."""
    try:
        return cast(BoundedTemplate, environment.from_string(source)), []
    except LiquidError as error:
        faults = all_faults(source, environment, whole=whole)
        return faults.rest, faults.sentences or [explained(error)]


def _invalid(problems: list[str], wanted: Wanted) -> Invalid:
    def line(sentence: str) -> int:
        found = _LINE.search(sentence)
        return int(found.group(1)) if found else 0

    return Invalid.many([FieldError(wanted.pointer, sentence) for sentence in sorted(problems, key=line)])


def _failed(error: BaseException, pointer: str) -> RenderFailed:
    if isinstance(error, OutputStreamLimitError):
        return ContentTooLarge("The rendered text is too long for this part; shorten it.", pointer=pointer)
    kind = LimitExceeded if isinstance(error, ResourceLimitError) else RenderFailed
    return kind(explained(error), pointer=pointer)


def _pieces(template: BoundedTemplate) -> tuple[tuple[str, ...], list[Function] | None]:
    """Split the template into literals and the functions between them; no functions if it needs Liquid itself."""
    literals, functions = [""], list[Function]()
    for node in template.nodes:
        if type(node) is ContentNode:
            literals[-1] += node.text
        elif type(node) is OutputNode and (value := _value(node.expression, template)) is not None:
            functions.append(_put_out(template.env, value))
            literals.append("")
        else:
            return (), None
    return tuple(literals), functions


def _has_filters(template: BoundedTemplate) -> bool:
    nodes = [node for node in template.nodes if isinstance(node, OutputNode)]
    inner = [e.inner if isinstance(e := node.expression, LinkStart | Alone) else e for node in nodes]
    return any(isinstance(expression, FilteredExpression) and expression.filters for expression in inner)


def _put_out(environment: ChannelEnvironment, value: Callable[[Variables], Any]) -> Function:
    put_out, goes_as_it_is = environment.put_out, AS_IT_IS[environment.kind]

    def function(variables: Variables) -> str:
        found = value(variables)
        return found if type(found) is str and goes_as_it_is(found) else put_out(found)

    return function


def _value(expression: Any, template: BoundedTemplate) -> Callable[[Variables], Any] | None:
    if isinstance(expression, LinkStart):
        inner = _value(expression.inner, template)
        return None if inner is None else partial(_with_scheme, inner, expression.first)
    if isinstance(expression, Alone):
        inner = _value(expression.inner, template)
        made = expression.made
        return None if inner is None else lambda variables: made(inner(variables))
    if type(expression) is not FilteredExpression:
        return None
    value = _operand(expression.left, template)
    for each in expression.filters or ():
        arguments = [
            _operand(argument.value, template) if type(argument) is PositionalArgument else None
            for argument in each.args
        ]
        function = template.env.filters.get(each.name)
        if value is None or function is None or None in arguments:
            return None
        if getattr(function, "with_environment", False):
            function = partial(function, environment=template.env)
        value = _filtered(function, value, [argument for argument in arguments if argument is not None])
    return value


def _with_scheme(inner: Callable[[Variables], Any], first: bool, variables: Variables) -> Any:
    value = inner(variables)
    checked_start(stringify(value), first=first)
    return value


def _filtered(
    function: Callable[..., Any], value: Callable[[Variables], Any], arguments: list[Callable[[Variables], Any]]
) -> Callable[[Variables], Any]:
    if not arguments:
        return lambda variables: function(value(variables))
    if len(arguments) == 1:
        argument = arguments[0]
        return lambda variables: function(value(variables), argument(variables))
    return lambda variables: function(value(variables), *[argument(variables) for argument in arguments])


def _operand(expression: Any, template: BoundedTemplate) -> Callable[[Variables], Any] | None:
    if isinstance(expression, Literal):
        constant = expression.evaluate(template.context_class(template))
        return lambda variables: constant
    if type(expression) is Perhaps:
        inner = _operand(expression.inner, template)
        return None if inner is None else partial(_perhaps, inner)
    if type(expression) is not Path:
        return None
    parts = [part for part in expression.path if isinstance(part, str)]
    if len(parts) != len(expression.path) or not LIQUIDS_OWN.isdisjoint(parts):
        return None  # an index, or Liquid's own meaning of size, first and last
    return _getter(tuple(parts), expression, template.env)


def _perhaps(inner: Callable[[Variables], Any], variables: Variables) -> Any:
    found = inner(variables)
    return None if isinstance(found, Undefined) else found


def _getter(path: tuple[str, ...], expression: Path, environment: ChannelEnvironment) -> Callable[[Variables], Any]:
    token = expression.token

    def missing(variables: Variables) -> Any:
        at: Any = variables
        for index, name in enumerate(path):
            if not isinstance(at, Mapping) or name not in at:
                written = list(prefixes(expression))[index]
                return environment.undefined(path[0], hint=f"{written} is undefined", token=token)
            at = at[name]
        return at

    def get(variables: Variables) -> Any:
        at: Any = variables
        try:
            for name in path:
                at = at[name]
        except (KeyError, TypeError, IndexError):
            return missing(variables)
        return at

    def get_two(variables: Variables) -> Any:
        try:
            return variables[first][second]
        except (KeyError, TypeError, IndexError):
            return missing(variables)

    def get_three(variables: Variables) -> Any:
        try:
            return variables[first][second][third]
        except (KeyError, TypeError, IndexError):
            return missing(variables)

    # nearly all are recipient.first_name or event.data.price
    first, second, third = (*path, "", "", "")[:3]
    return {2: get_two, 3: get_three}.get(len(path), get)
