"""What a parsed text reads: each variable as written, and as a path into the event, through loops and assigns.

One walk over the syntax tree lists the uses, replaces ranges with bounded ones, and passes the recipient's zone to
every `date` that names none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.arguments import KeywordArgument, PositionalArgument
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.expressions.loop import LoopExpression
from liquid.builtin.expressions.primitive import RangeLiteral, StringLiteral
from liquid.builtin.tags.assign_tag import AssignNode
from liquid.builtin.tags.for_tag import BreakNode, ContinueNode
from liquid.static_analysis import RE_PROPERTY
from liquid.token import Token

from libs.rendering.bounds import BoundedFor, BoundedRange, BoundedTablerow
from libs.rendering.dialect import Perhaps, adapt
from libs.rendering.environment import BoundedTemplate
from libs.rendering.faults import in_words
from libs.rendering.formats import NO_CURRENCY, is_named, unknown_directives
from libs.rendering.instead import FILTERS, date_format
from libs.rendering.limits import VALUE_ERRORS
from libs.rendering.meter import METER
from libs.rendering.numbers import NUMBER_FILTERS

ANY = "[]"  # an item of a list, or a key known only at render time
_ROOTS = frozenset({"event", "recipient", "links"})
_OF_THE_SAME_ITEMS = frozenset({"where", "reject", "sort", "sort_natural", "reverse", "compact", "uniq"})
_ONE_ITEM = frozenset({"first", "last", "find"})
_OF_NUMBERS = {*NUMBER_FILTERS, "size", "json"}
_COUNTED = frozenset({"first", "index", "index0", "last", "length", "rindex", "rindex0"})
LOOP_FIELDS = {
    "forloop": _COUNTED | {"name", "parentloop"},
    "tablerowloop": _COUNTED | {"col", "col0", "col_first", "col_last", "row"},
}

Scope = Mapping[str, "tuple[str, ...] | None"]  # a local's path into the variables; None: it has none


@dataclass(frozen=True, slots=True)
class Use:
    """One variable in a text."""

    written: tuple[str, ...]  # the prefixes as an error would name them: event, event.data, event.data.total
    path: tuple[str, ...] | None  # from the root of the variables; None: a local without one
    source: str = field(compare=False, repr=False)
    offset: int = field(compare=False)
    is_money: bool = False  # printed by `money` without a currency: it must be an object that has one

    @property
    def line(self) -> int:
        return self.source.count("\n", 0, max(self.offset, 0)) + 1


@dataclass(slots=True)
class Uses:
    """Everything that a text reads."""

    uses: list[Use] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # sentences about what fails whatever the variables
    doubts: list[str] = field(default_factory=list)  # about what publishing refuses, and older releases may have


def walk(template: BoundedTemplate) -> Uses:
    """Return the uses of a freshly parsed template; the module says what this changes on the way."""
    found = Uses()
    _Walk(template, found).whole()
    return found


class _Walk:
    def __init__(self, template: BoundedTemplate, found: Uses) -> None:
        self._template = template
        self._context = template.context_class(template)
        self._found = found
        self._locals: dict[str, tuple[str, ...] | None] = {}
        self._computed: set[str] = set()
        self._numbers: set[str] = set()  # locals that are the result of a filter for numbers

    def whole(self) -> None:
        """Walk the template. What it assigns is known everywhere in it: a loop's body is read more than once."""
        self._template.own = frozenset(self._names(self._template.nodes)) - _ROOTS
        self.nodes(self._template.nodes, {})
        self._template.computed = frozenset(self._computed)

    def _names(self, nodes: Sequence[Node]) -> Iterator[str]:
        for node in nodes:
            yield from map(str, node.template_scope())
            yield from self._names(list(node.children(self._context)))

    def nodes(self, nodes: Sequence[Node], scope: Scope) -> None:
        for node in nodes:
            if isinstance(node, BreakNode | ContinueNode) and "forloop" not in scope and "tablerowloop" not in scope:
                self._found.problems.append(f"Line {_line(node.token)}: {{% {node.token.value} %}} is outside a loop.")
            for expression in node.expressions():
                self._expression(expression, scope)
            for name in node.template_scope():
                self._locals[str(name)] = self._assigned(node, scope)
                if self._is_computed(node):
                    self._computed.add(str(name))
                if isinstance(node, AssignNode) and _is_number(node.expression):
                    self._numbers.add(str(name))
            inner = dict(scope) | {str(name): None for name in node.block_scope()}
            if isinstance(node, BoundedFor | BoundedTablerow):
                inner[node.expression.identifier] = self._items(node.expression, scope)
            if isinstance(node, BoundedFor) and node.default is not None and isinstance(node.expression.iterable, Path):
                node.expression.iterable = Perhaps(node.expression.iterable)
            self.nodes(list(node.children(self._context)), inner)

    def _assigned(self, node: Node, scope: Scope) -> tuple[str, ...] | None:
        """Return the path that `assign x = event.data.order` makes x an alias of: also of a sorted list, or of one of
        its items. With any other filter x is a new value."""
        expression = node.expression if isinstance(node, AssignNode) else None
        if not isinstance(expression, FilteredExpression):
            return None
        path = self._path_of(expression.left, scope)
        for each in expression.filters or ():
            if path is None or each.name not in _OF_THE_SAME_ITEMS | _ONE_ITEM:
                return None
            path = (*path, ANY) if each.name in _ONE_ITEM else path
        return path

    def _is_computed(self, node: Node) -> bool:
        """Whether a local may be nothing by the template's own doing, not because the event lacks something."""
        expression = node.expression if isinstance(node, AssignNode) else None
        if not isinstance(expression, FilteredExpression) or expression.filters:
            return True
        return not isinstance(expression.left, Path) or expression.left.path[0] in self._computed

    def _items(self, loop: LoopExpression, scope: Scope) -> tuple[str, ...] | None:
        path = self._path_of(loop.iterable, scope)
        return None if path is None else (*path, ANY)

    def _path_of(self, expression: Any, scope: Scope) -> tuple[str, ...] | None:
        if not isinstance(expression, Path):
            return None
        root, *rest = expression.path
        tail = tuple(part if isinstance(part, str) else ANY for part in rest)
        if not isinstance(root, str):
            return None
        known = scope[root] if root in scope else self._locals.get(root, ...)
        if known is ...:
            return None if root in self._template.own else (root, *tail)
        return None if known is None else (*known, *tail)

    def _expression(self, expression: Any, scope: Scope) -> None:
        for each in _expressions(expression):
            adapt(each)
            if isinstance(each, RangeLiteral):
                each.__class__ = BoundedRange
            elif isinstance(each, FilteredExpression):
                _give_zone(each)
                self._filters(each)
                self._money(each, scope)
            if isinstance(each, Path):
                self._use(each, scope)
        if isinstance(expression, FilteredExpression):
            self._constant(expression)
            if isinstance(expression.left, Path) and _has_a_default(expression):
                expression.left = Perhaps(expression.left)

    def _constant(self, expression: FilteredExpression) -> None:
        """Evaluate an expression without variables now: if it fails, it fails for everyone."""
        if self._found.problems or any(isinstance(each, Path) for each in _expressions(expression.left)):
            return
        if any(part != ["recipient", "zone"] for part in _arguments(expression)):
            return
        METER.start()
        try:
            expression.evaluate(self._context)
        except VALUE_ERRORS as error:
            self._found.problems.append(
                f"Line {_line(expression.token)}: {in_words(str(error.args[0] if error.args else error))}."
            )

    def _filters(self, expression: FilteredExpression) -> None:
        for each in expression.filters or ():
            function = self._context.env.filters.get(each.name)
            instead = FILTERS.get(each.name, "the documentation lists all filters")
            problem = _misused(each, function) if function else f"it does not exist; {instead}"
            if problem:
                self._found.problems.append(f"Line {_line(each.token)}: the filter {each.name!r}: {problem}.")
            elif each.name == "date" and each.args and isinstance(each.args[0].value, StringLiteral):
                style = each.args[0].value.value
                if "%" not in style and not is_named(style):
                    self._found.doubts.append(
                        f"Line {_line(each.token)}: the filter 'date': {style[:40]!r} has no directive; "
                        f'write "{date_format(style)}" or a name like "long".'
                    )

    def _money(self, expression: FilteredExpression, scope: Scope) -> None:
        """Find amounts that have no currency. Whether a variable is an object that has one, its schema says."""
        names = [each.name for each in expression.filters or () if each.name != "default"]
        index = next((at for at, each in enumerate(expression.filters or ()) if each.name == "money"), None)
        if index is None or expression.filters is None or expression.filters[index].args:
            return
        before, left = names[: names.index("money")], expression.left
        local = left.path[0] if isinstance(left, Path) and len(left.path) == 1 else None
        if (before and before[-1] in _OF_NUMBERS) or (not before and local in self._numbers):
            self._found.doubts.append(f"Line {_line(expression.token)}: {NO_CURRENCY}.")
        elif not before and isinstance(left, Path) and (to := self._path_of(left, scope)):
            token = left.token
            self._found.uses.append(Use(tuple(prefixes(left)), to, token.source, token.start_index, is_money=True))

    def _use(self, path: Path, scope: Scope) -> None:
        root, token = path.path[0], path.token
        if not isinstance(root, str):
            self._found.problems.append(
                f"Line {_line(token)}: write the variable's name here; it cannot come from another variable."
            )
            return
        to = self._path_of(path, scope)
        if root in LOOP_FIELDS and root in scope:
            field = path.path[1] if len(path.path) > 1 else None
            if field is None or field in LOOP_FIELDS[root]:
                return
            to = (root, str(field))
        self._found.uses.append(Use(tuple(prefixes(path)), to, token.source, token.start_index))


def _has_a_default(expression: FilteredExpression) -> bool:
    """Whether a `default` follows filters that turn nothing into a text; filters for numbers turn it into 0."""
    names = [each.name for each in expression.filters or ()]
    before = names[: names.index("default")] if "default" in names else []
    return bool(before) and not any(name in _OF_NUMBERS for name in before)


def _is_number(expression: Any) -> bool:
    names = [each.name for each in expression.filters or () if each.name != "default"]
    return bool(names) and names[-1] in _OF_NUMBERS


def _line(token: Token) -> int:
    return token.source.count("\n", 0, max(token.start_index, 0)) + 1


def _expressions(root: Any) -> Iterator[Any]:
    stack = [root]
    while stack:
        expression = stack.pop()
        yield expression
        stack.extend(expression.children())


def _arguments(expression: FilteredExpression) -> Iterator[list[Any]]:
    """Yield the paths among the arguments of an expression's filters."""
    for each in expression.filters or ():
        for argument in each.args:
            yield from (found.path for found in _expressions(argument.value) if isinstance(found, Path))


def _misused(each: Filter, function: Callable[..., Any]) -> str | None:
    """Return what is wrong with a filter's arguments, whatever their values."""
    given = [argument for argument in each.args if type(argument) is PositionalArgument]
    named = {argument.name: None for argument in each.args if isinstance(argument, KeywordArgument)}
    if getattr(function, "with_environment", False):
        named["environment"] = None
    try:
        signature(function).bind(None, *given, **named)
    except TypeError as error:
        return in_words(str(error))
    if each.name == "date" and given and isinstance(given[0].value, StringLiteral):
        unknown = unknown_directives(given[0].value.value)
        return f"the date directive %{unknown[0]} is not known" if unknown else None
    return None


def prefixes(path: Path) -> Iterator[str]:
    """Yield the path and its prefixes, as Liquid names them in errors."""
    made = ""
    for index, part in enumerate(path.path):
        if index == 0:
            made = str(part)
        elif isinstance(part, str):
            made += f".{part}" if RE_PROPERTY.fullmatch(part) else f"[{part!r}]"
        else:
            made += f"[{part}]"
        yield made


def _give_zone(expression: FilteredExpression) -> None:
    for each in expression.filters or ():
        if each.name != "date" or len(each.args) >= 2 or any(type(arg) is not PositionalArgument for arg in each.args):
            continue
        if not each.args:
            each.args.append(PositionalArgument(StringLiteral(each.token, "medium")))
        each.args.append(PositionalArgument(Path(each.token, ["recipient", "zone"])))
