"""Outputs that are printed differently from their neighbours, because of their place in the HTML."""

import re
from collections.abc import Callable
from typing import Any

from liquid import Undefined
from liquid.expression import Expression
from markupsafe import Markup

from libs import exact_json
from libs.rendering.environment import BoundedTemplate, OutputNode, put_out_json
from libs.rendering.filters import JsonText, without_markup
from libs.rendering.html_context import Placement, place
from libs.rendering.json_context import place_json
from libs.rendering.links import checked_start
from libs.rendering.values import stringify


def placement_of(source: str, kind: str) -> Placement | None:
    """Return where the values of a source land, if that changes how they are printed."""
    if kind == "json":
        values = place_json(source)
        return Placement(alone=set(values.alone), quoted=set(values.quoted))
    return place(source) if kind == "html" else None


class LinkStart(Expression):
    """An output's expression whose value begins a link: the scheme is checked at each render."""

    __slots__ = ("first", "inner")

    def __init__(self, inner: Expression, *, first: bool) -> None:
        super().__init__(inner.token)
        self.inner = inner
        self.first = first

    def evaluate(self, context: Any) -> object:
        value = self.inner.evaluate(context)
        checked_start(stringify(value), first=self.first)
        return value

    def children(self) -> list[Expression]:
        return [self.inner]


class _InJson(Expression):
    """An output's expression in a mail's JSON: printed as JSON, without anything that HTML would interpret."""

    __slots__ = ("inner", "put_out")

    def __init__(self, inner: Expression, *, alone: bool) -> None:
        super().__init__(inner.token)
        self.inner = inner
        self.put_out = alone_in_json if alone else put_out_json

    def evaluate(self, context: Any) -> object:
        value = self.inner.evaluate(context)
        text = without_markup(self.put_out(value.unescape() if isinstance(value, Markup) else value))
        # line ends everywhere but in JSON
        return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))

    def children(self) -> list[Expression]:
        return [self.inner]


_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")


def alone_in_json(value: object) -> str:
    """Print a value without quotes around it: as JSON, but a text with a number in it is that number."""
    if isinstance(value, Undefined):
        return JsonText(str(value) or "null")  # raises if it must not be missing
    if isinstance(value, JsonText) or (isinstance(value, str) and _SCALAR.fullmatch(value)):
        return JsonText(value)
    return JsonText(exact_json.dumps(list(value) if isinstance(value, range) else value).decode())


def without_null(value: object) -> object:
    """Return a value for a place between quotes: `"Dear {{ name }}"` has no null in it."""
    return "" if value is None else value


class Alone(Expression):
    """An output's expression in a webhook that is a whole JSON value."""

    __slots__ = ("inner",)
    made: Callable[[object], object] = staticmethod(alone_in_json)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def evaluate(self, context: Any) -> object:
        return self.made(self.inner.evaluate(context))

    def children(self) -> list[Expression]:
        return [self.inner]


class Quoted(Alone):
    """An output's expression between the quotes of a JSON string."""

    __slots__ = ()
    made: Callable[[object], object] = staticmethod(without_null)


def guard(template: BoundedTemplate, placement: Placement | None) -> None:
    """Wrap the outputs whose place needs it."""
    if placement is None or not (placement.begins_link or placement.in_json or placement.alone or placement.quoted):
        return
    context = template.context_class(template)
    stack = list(template.nodes)
    while stack:
        node = stack.pop()
        stack.extend(node.children(context))
        if isinstance(node, OutputNode):
            node.expression = _guarded(node.expression, node.token.start_index, placement)


def _guarded(expression: Any, at: int, placement: Placement) -> Any:
    first = placement.begins_link.get(at)
    if first is not None:
        return LinkStart(expression, first=first)
    if at in placement.quoted:
        expression = Quoted(expression)
    if at in placement.in_json:
        return _InJson(expression, alone=at in placement.alone)
    return Alone(expression) if at in placement.alone else expression
