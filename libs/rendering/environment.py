"""The Liquid environment: which tags exist, what a missing variable means, and how much work is allowed.

Work is counted in units instead of seconds, so that a busy machine never fails a message that an idle one sends: a
loop costs its length times the size of its body, a filter the length of its input.
"""

import re
import threading
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, TextIO, cast

from liquid import BoundTemplate, Environment, RenderContext, Undefined
from liquid.builtin import content, output
from liquid.builtin.tags import (
    assign_tag,
    capture_tag,
    case_tag,
    comment_tag,
    cycle_tag,
    decrement_tag,
    doc_tag,
    echo_tag,
    for_tag,
    if_tag,
    ifchanged_tag,
    increment_tag,
    inline_comment_tag,
    liquid_tag,
    unless_tag,
)
from liquid.exceptions import UndefinedError
from markupsafe import Markup, escape

from libs.rendering.bounds import BoundedContext, ForTag, TablerowTag
from libs.rendering.dialect import CaptureTag, UnknownTag
from libs.rendering.filters import JsonText, as_json_string, captured_json, filters_for
from libs.rendering.limits import MAX_BLOCKS
from libs.rendering.values import plain, stringify

LENIENT_ROOTS = frozenset({"recipient", "links"})  # what a person may lack is not an error: Hello ,

NOTED = "?"  # among the optional paths: what must not be missing is noted instead of ending the render

LENIENT_PATHS = frozenset({"event.subject"})  # an event may have no subject


class Missing(Undefined):
    """A missing variable. Falsy in conditions, replaced by `default`; printing it is an error."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """Return the first part of the path that is missing, as written: `event.data.order`."""
        return str(self.hint or self.name).removesuffix(" is undefined").strip("'\"")

    def __str__(self) -> str:
        raise UndefinedError(f"{self.path} is missing", token=self.token)

    def items(self) -> Any:
        raise UndefinedError(f"{self.path} is missing", token=self.token)


class Absent(Undefined):
    """A variable that may be missing: empty, as in ordinary Liquid."""

    __slots__ = ()


class _Notes(threading.local):
    """What the render that this thread is doing has missed: paths with their lines."""

    def __init__(self) -> None:
        self.missed: list[tuple[str, int]] = []


NOTES = _Notes()


class Noted(Missing):
    """A missing variable that is noted where it would be an error, so that a preview finds all of them."""

    __slots__ = ()

    def _note(self) -> None:
        line = self.token.source.count("\n", 0, max(self.token.start_index, 0)) + 1 if self.token else 0
        NOTES.missed.append((self.path, line))

    def __str__(self) -> str:
        self._note()
        return ""

    def items(self) -> Any:
        self._note()
        return ()


class BoundedTemplate(BoundTemplate):
    """A parsed text that renders in a bounded context."""

    context_class = BoundedContext
    env: "ChannelEnvironment"
    own: frozenset[str] = frozenset()  # the locals that it assigns somewhere
    computed: frozenset[str] = frozenset()  # those that are more than another name for one of the variables


class OutputNode(output.OutputNode):
    """`{{ … }}`, escaped for the environment's channel."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return _put_out(self, context, buffer)


class OutputTag(output.Output):
    node_class = OutputNode


class EchoNode(echo_tag.EchoNode):
    """`{% echo … %}`: the same, as a tag."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return _put_out(self, context, buffer)


def _put_out(node: output.OutputNode, context: RenderContext, buffer: TextIO) -> int:
    environment = cast("ChannelEnvironment", context.env)
    return buffer.write(environment.put_out(node.expression.evaluate(context)))


class EchoTag(echo_tag.EchoTag):
    node_class = EchoNode


class CycleNode(cycle_tag.CycleNode):
    """`{% cycle … %}`: its values are escaped like any other."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        values = [value.evaluate(context) for value in self.args]
        group = self.group.evaluate(context) if self.group else None
        key = stringify(values) if group is None or isinstance(group, Undefined) else f"group {stringify(group)}"
        environment = cast("ChannelEnvironment", context.env)
        return buffer.write(environment.put_out(values[context.cycle(key, len(values))]))


class CycleTag(cycle_tag.CycleTag):
    node_class = CycleNode


class JsonCaptureNode(capture_tag.CaptureNode):
    """`{% capture x %}` in JSON: a text, which is escaped when printed; a capture with quotes of its own is JSON."""

    __slots__ = ()

    def _assign(self, context: RenderContext, buf: Any) -> None:
        context.assign(self.name, captured_json(buf.getvalue()))


class JsonCaptureTag(CaptureTag):
    node_class = JsonCaptureNode


class HtmlCaptureNode(capture_tag.CaptureNode):
    """`{% capture x %}` in HTML: a text if it has no markup of its own, so that filters see & and not &amp;."""

    __slots__ = ()

    def _assign(self, context: RenderContext, buf: Any) -> None:
        made = Markup(buf.getvalue())
        text = made.unescape()
        context.assign(self.name, text if escape(text) == made else made)


class HtmlCaptureTag(CaptureTag):
    node_class = HtmlCaptureNode


_HTML_SIGNS = re.compile("[&<>\"']")  # what escaping changes

_TAGS = (
    content.Literal,
    OutputTag,
    UnknownTag,
    if_tag.IfTag,
    comment_tag.CommentTag,
    unless_tag.UnlessTag,
    case_tag.CaseTag,
    ForTag,
    for_tag.BreakTag,
    for_tag.ContinueTag,
    assign_tag.AssignTag,
    increment_tag.IncrementTag,
    decrement_tag.DecrementTag,
    EchoTag,
    CycleTag,
    liquid_tag.LiquidTag,
    ifchanged_tag.IfChangedTag,
    inline_comment_tag.InlineCommentTag,
    doc_tag.DocTag,
)
_OF_KIND = {"json": (JsonCaptureTag,), "text": (CaptureTag,), "html": (HtmlCaptureTag, TablerowTag)}


def put_out_text(value: Any) -> str:
    """Print a value in a text: unchanged, without control characters."""
    return value if type(value) is str and value.isprintable() else plain(stringify(value))


def put_out_html(value: Any) -> str:
    """Print a value in HTML: escaped, unless one of our own filters made it markup."""
    if type(value) is str and value.isprintable() and not _HTML_SIGNS.search(value):
        return value
    if isinstance(value, Markup):
        return value if value.isprintable() else plain(str(value))
    return escape(put_out_text(value))


def put_out_json(value: Any) -> str:
    """Print a value in JSON: numbers and booleans bare, strings as between quotes."""
    if isinstance(value, JsonText):
        return str(value)
    if value is None:
        return "null"
    return as_json_string(stringify(value)) if not isinstance(value, bool | int | Decimal) else stringify(value)


ESCAPES: Mapping[str, Callable[[Any], str]] = {
    "text": put_out_text,
    "html": put_out_html,
    "json": put_out_json,
}
# recognises texts that need no escaping, without calling the escape: most names and numbers
AS_IT_IS: Mapping[str, Callable[[str], bool]] = {
    "text": str.isprintable,
    "html": str.isalnum,
    "json": lambda _: False,
}


class ChannelEnvironment(Environment):
    """Liquid for one kind of text and one locale."""

    block_nesting_limit = MAX_BLOCKS
    context_depth_limit = MAX_BLOCKS + 10
    template_class = BoundedTemplate

    def __init__(self, kind: str, locale: str, optional: Collection[str] = ()) -> None:
        self.kind = kind
        self.locale = locale
        self.optional = frozenset(optional)
        self.everything_optional = "*" in self.optional
        self._missing = Noted if NOTED in self.optional else Missing
        self.put_out = ESCAPES[kind]
        super().__init__(autoescape=kind == "html", undefined=Missing, strict_filters=True)
        self.undefined = self._undefined  # type: ignore[assignment]  # only called, as a factory

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        for tag in _TAGS + _OF_KIND[self.kind]:
            self.add_tag(tag)
        self.filters.update(filters_for(self.locale))

    def _undefined(self, name: str, **facts: Any) -> Undefined:
        missing = self._missing(name, **facts)
        lenient = self.everything_optional or name in LENIENT_ROOTS or missing.path in self.optional | LENIENT_PATHS
        return Absent(name, **facts) if lenient else missing
