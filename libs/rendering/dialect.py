"""Adapts the library to Liquid as marketers know it from Shopify.

`blank` includes null, false and missing; numbers with a point are exact, so that a price of 9.95 equals 9.95; a
number written as text is compared as a number; and an error names an unknown tag.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from liquid import RenderContext, Undefined
from liquid.ast import IllegalNode
from liquid.builtin import illegal
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LtExpression,
    NeExpression,
    _contains,
    _le,
    _lt,
)
from liquid.builtin.expressions.loop import LoopExpression
from liquid.builtin.expressions.primitive import Blank, FloatLiteral
from liquid.builtin.tags import capture_tag
from liquid.builtin.tags.case_tag import _AnyExpression
from liquid.exceptions import LiquidSyntaxError
from liquid.expression import Expression
from liquid.stream import TokenStream
from liquid.token import TOKEN_EXPRESSION

from libs.rendering.instead import TAGS
from libs.rendering.meter import METER
from libs.rendering.values import stringify

_CHARACTERS_OF_A_UNIT = 64  # of a text that is searched; the search is slow for some patterns
_INNER = frozenset({"else", "elsif", "when", "break", "continue"})  # known, but misplaced


class BlankEq(EqExpression):
    """`x == blank`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return _equal(self.left.evaluate(context), self.right.evaluate(context))


class BlankNe(NeExpression):
    """`x != blank`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return not _equal(self.left.evaluate(context), self.right.evaluate(context))


class BlankWhen(_AnyExpression):
    """`{% when blank, 0 %}`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        left = self.left.evaluate(context)
        values = [each.evaluate(context) for each in self.expressions]
        known = super().evaluate(context)
        return [
            _equal(left, value) if isinstance(value, Blank) else same for value, same in zip(values, known, strict=True)
        ]


class Contains(ContainsExpression):
    """`x contains y`: false if x can contain nothing, such as a number. Its work is counted."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, str):
            METER.spend(1 + len(left) // _CHARACTERS_OF_A_UNIT, "its comparisons")
            right = stringify(right) if right else right
        elif isinstance(left, list | tuple):
            METER.spend(1 + len(left), "its comparisons")
        elif not isinstance(left, Mapping | range | Undefined):
            return False
        return _contains(self.token, left, right)


class Loop(LoopExpression):
    """The items of a `for`: no limit if it is null or missing, and none at all with a limit of 0."""

    __slots__ = ()

    def _to_int(self, obj: object, *, token: Any) -> Any:
        return None if obj is None or isinstance(obj, Undefined) else super()._to_int(obj, token=token)

    def _slice(
        self, it: Iterator[object], length: int, context: RenderContext, *, limit: int | None, offset: int | str | None
    ) -> tuple[Iterator[object], int]:
        if limit is not None and limit <= 0:
            return iter(()), 0
        return super()._slice(it, length, context, limit=limit, offset=offset)


class Perhaps(Expression):
    """A variable whose text provides a replacement if it is missing: then it is nothing instead of an error."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def __str__(self) -> str:
        return str(self.inner)

    def evaluate(self, context: RenderContext) -> object:
        found = self.inner.evaluate(context)
        return None if isinstance(found, Undefined) else found

    def children(self) -> list[Expression]:
        return [self.inner]


def adapt(expression: Expression) -> None:
    """Make an expression of a parsed template behave as in Shopify."""
    if isinstance(expression, FloatLiteral):
        expression.value = cast(Any, Decimal(repr(expression.value)))
    elif type(expression) is LoopExpression:
        expression.__class__ = Loop
    elif type(expression) in _NUMERIC:
        expression.__class__ = _NUMERIC[type(expression)]
    elif type(expression) is ContainsExpression:
        expression.__class__ = Contains
    elif type(expression) in _WITH_BLANK and any(isinstance(each, Blank) for each in expression.children()):
        expression.__class__ = _WITH_BLANK[type(expression)]


_WITH_BLANK: dict[type, Any] = {EqExpression: BlankEq, NeExpression: BlankNe, _AnyExpression: BlankWhen}


def _equal(left: object, right: object) -> bool:
    given = left if isinstance(right, Blank) else right
    if given is None or given is False or isinstance(given, Undefined | Blank):
        return True
    if isinstance(given, str):
        return not given.strip()
    return isinstance(given, list | tuple | dict) and not given


class _Numeric:
    """A comparison in which either side may be a number written as text: shops send money like that, as in `"19.90" >
    10`."""

    __slots__ = ()
    left: Expression
    right: Expression

    def sides(self, context: RenderContext) -> tuple[object, object]:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        return _number_beside(left, right), _number_beside(right, left)


class NumericLt(_Numeric, LtExpression):
    """`x < y`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.sides(context)
        return _lt(self.token, left, right)


class NumericGt(_Numeric, GtExpression):
    """`x > y`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.sides(context)
        return _lt(self.token, right, left)


class NumericLe(_Numeric, LeExpression):
    """`x <= y`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.sides(context)
        return _le(left, right)


class NumericGe(_Numeric, GeExpression):
    """`x >= y`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.sides(context)
        return _le(right, left)


_NUMERIC: dict[type, Any] = {
    LtExpression: NumericLt,
    GtExpression: NumericGt,
    LeExpression: NumericLe,
    GeExpression: NumericGe,
}
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?\s*")


def _number_beside(value: object, other: object) -> object:
    if not isinstance(value, str) or type(other) not in (int, float, Decimal):
        return value
    if not value or value.isspace():
        return None  # WooCommerce sends "" for a price that a product does not have; null is less than no number
    return Decimal(value.strip()) if _NUMBER.fullmatch(value) else value


class CaptureTag(capture_tag.CaptureTag):
    """`{% capture 'name' %}` is the same as `{% capture name %}`."""

    def parse(self, stream: TokenStream) -> capture_tag.CaptureNode:
        named = stream.peek
        if named.kind == TOKEN_EXPRESSION and (found := _QUOTED_NAME.fullmatch(named.value)):
            stream.tokens[stream.pos + 1] = named._replace(value=found[2], start_index=named.start_index + 1)
        return super().parse(stream)


_QUOTED_NAME = re.compile(r"""(["'])([\w-]+)\1""")


class UnknownTag(illegal.Illegal):
    """Names the unknown tag in the error."""

    def parse(self, stream: TokenStream) -> IllegalNode:
        name = stream.current.value
        if not name or name in _INNER or name.startswith("end"):
            return super().parse(stream)
        raise LiquidSyntaxError(
            f"there is no tag {name!r}{f': {TAGS[name]}' if name in TAGS else '; the documentation lists all tags'}",
            token=stream.current,
        )
