"""Outputs that are put out in another way than their neighbours, for the place in the HTML where they stand."""

from typing import Any

from liquid.expression import Expression
from markupsafe import Markup

from libs.rendering.environment import BoundedTemplate, OutputNode, put_out_json
from libs.rendering.filters import without_markup
from libs.rendering.html_context import Placement
from libs.rendering.links import checked_start
from libs.rendering.values import stringify


class LinkStart(Expression):
    """An output's expression whose value begins a link: the scheme is checked each time."""

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
    """An output's expression in JSON that stands in a mail: put out as JSON, with nothing that HTML would read."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def evaluate(self, context: Any) -> object:
        text = without_markup(put_out_json(self.inner.evaluate(context)))
        return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # line ends to all but JSON

    def children(self) -> list[Expression]:
        return [self.inner]


def guard(template: BoundedTemplate, placement: Placement | None) -> None:
    """Has the outputs that need it put out for their place."""
    if placement is None or not (placement.begins_link or placement.in_json):
        return
    context = template.context_class(template)
    stack = list(template.nodes)
    while stack:
        node = stack.pop()
        stack.extend(node.children(context))
        first = placement.begins_link.get(node.token.start_index)
        if isinstance(node, OutputNode) and first is not None:
            node.expression = LinkStart(node.expression, first=first)
        elif isinstance(node, OutputNode) and node.token.start_index in placement.in_json:
            node.expression = _InJson(node.expression)
