"""Bounded Liquid: contexts and loops that count their work before they do it."""

from sys import getsizeof
from typing import Any, TextIO, cast

from liquid import BoundTemplate, RenderContext, Undefined
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags import for_tag, tablerow_tag
from liquid.exceptions import ResourceLimitError

from libs.rendering.limits import MAX_ITEMS, MAX_LOCALS
from libs.rendering.meter import METER


class BoundedContext(RenderContext):
    """Counts the work of loops and the size of what `assign` and `capture` store."""

    __slots__ = ("kept", "weight")

    def __init__(self, template: BoundTemplate, **options: Any) -> None:
        super().__init__(template, **options)
        self.kept = 0
        self.weight = 1

    def assign(self, key: str, val: Any) -> None:
        self.kept += getsizeof(val, 64) - (getsizeof(self.locals[key], 64) if key in self.locals else 0)
        if self.kept > MAX_LOCALS:
            raise ResourceLimitError(f"assign and capture store more than {MAX_LOCALS} bytes", token=None)
        self.locals[key] = val

    def get(self, path: list[object], **options: Any) -> object:
        found = super().get(path, **options)
        if isinstance(found, Undefined) and self._is_nothing(path[0]):
            return Undefined(str(path[0]), token=found.token)
        if isinstance(found, Undefined) and found.hint == "index out of range":
            parts = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in path[1:])
            found = self.env.undefined(str(path[0]), hint=f"{path[0]}{parts} is undefined", token=found.token)
        return found

    def _is_nothing(self, root: Any) -> bool:
        """Whether it is a local that was not assigned on this way through the template, or that was made nothing."""
        template = cast(Any, self.template)
        if root not in template.own:
            return False
        if root not in self.scope:
            return True
        return root in template.computed and self.scope[root] is None

    def raise_for_loop_limit(self, length: int = 1) -> None:
        METER.spend(length * self.weight, "its loops")


class _Weighed:
    """A loop that declares the weight of its body before it runs."""

    __slots__ = ()
    weight: int

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        if isinstance(context, BoundedContext):
            context.weight = self.weight
        return int(super().render_to_output(context, buffer))  # type: ignore[misc]


class BoundedFor(_Weighed, for_tag.ForNode):
    """`for`."""

    __slots__ = ("weight",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.weight = 1 + len(str(self.block)) // 12


class ForTag(for_tag.ForTag):
    node_class = BoundedFor


class BoundedTablerow(_Weighed, tablerow_tag.TablerowNode):
    """`tablerow`, whose cells are markup too."""

    __slots__ = ("weight",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.weight = 2 + len(str(self.block)) // 12


class TablerowTag(tablerow_tag.TablerowTag):
    node_class = BoundedTablerow


class BoundedRange(RangeLiteral):
    """A range that is rejected before anything can turn it into a list."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        made: range = super().evaluate(context)
        if made.stop - made.start > MAX_ITEMS:
            raise ResourceLimitError(
                f"the range {made.start}..{made.stop - 1} has more than {MAX_ITEMS} items", token=self.token
            )
        return made
