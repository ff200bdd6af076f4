"""Everything that is wrong with a source that Liquid's parser rejects; the parser itself stops at the first fault."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from liquid import BoundTemplate
from liquid.exceptions import BlockNestingError, LiquidError

from libs.rendering.environment import BoundedTemplate, ChannelEnvironment
from libs.rendering.faults import explained, in_words, pieces
from libs.rendering.precheck import Early

_MAX_FAULTS = 50  # sentences about one source
_INSIDE = {"elsif": "if", "when": "case"}  # tags that are only valid inside another one
_OF_BLOCKS = frozenset({"else", "break", "continue"})
# what a faulty piece would name, here or on another platform: {% with total=x %}, {% catalog x as item %}
_NAMED = re.compile(r"\b(?:assign|capture|with|set|as|for|tablerow|increment|decrement)\s+(\w+)|:save\s+(\w+)")
_LOOP = re.compile(r"\{%-?\s*(?:for|tablerow)\s+(\w+)\s+in\s+([^\s%]+)")
_STAND_INS = {"case": "case 1", "when": "when 1", **{tag: f"{tag} true" for tag in ("if", "unless", "elsif")}}


Replaced = tuple[int, int, str]  # from where to where, and by what


@dataclass(frozen=True, slots=True)
class Faults:
    """Sentences with their lines, and the source with right pieces instead of faulty ones, parsed if possible."""

    sentences: list[str]
    rest: BoundedTemplate | None


def all_faults(source: str, environment: ChannelEnvironment, *, whole: bool = True) -> Faults:
    """Return the faults of each output and tag, and of the blocks around them if the source is whole."""
    sentences, rest = _of_pieces(source, environment)
    template: BoundTemplate | None
    try:
        template = environment.from_string(rest)
    except LiquidError as error:
        if whole:
            sentences += list(_unclosed(rest, environment)) or [explained(error)]
        template = None if isinstance(error, BlockNestingError) else _without_blocks(rest, environment)
    return Faults(sentences[:_MAX_FAULTS], cast(BoundedTemplate | None, template))


def _of_pieces(source: str, environment: ChannelEnvironment) -> tuple[list[str], str]:
    """Return what is wrong with each output and tag by itself, and the source with right ones instead."""
    sentences: list[str] = []
    right: list[Replaced] = []
    known: dict[str, tuple[int, str] | None] = {}
    for start, piece, tag in pieces(source):
        fault = known[piece] if piece in known else known.setdefault(piece, _fault(piece, tag, environment))
        if fault is not None:
            line = source.count("\n", 0, start) + 1 + fault[0]
            sentences.append(f"Line {line}: {fault[1]}.")
        if fault is not None or (tag.startswith("end") and tag[3:] not in environment.tags):
            right.append((start, start + len(piece), _stand_in(piece, tag)))
    return sentences, _with(right, source)


def without(early: list[Early], source: str) -> str:
    """Return the source with right pieces instead of those that cannot even be parsed."""
    right: list[Replaced] = []
    for _, start, end in early:
        piece = source[start:end]
        tag = re.match(r"\{%-?\s*(\w+)", piece)
        right.append((start, start + len(piece), _stand_in(piece, tag[1] if tag else "")))
    return _with(right, source)


def _with(replaced: list[Replaced], source: str) -> str:
    kept, last = [], 0
    for start, end, instead in replaced:
        # as many lines as before, so that faults are found where they are
        kept += [source[last:start], " ", instead, "\n" * source.count("\n", start, end)]
        last = end
    return "".join([*kept, source[last:]])


def _stand_in(piece: str, tag: str) -> str:
    """Return a right piece for a faulty one: it opens the same block and assigns the same names."""
    names = [found[1] or found[2] for found in _NAMED.finditer(piece)] if tag else []
    if tag in _STAND_INS:
        return f"{{% {_STAND_INS[tag]} %}}"
    if tag in {"for", "tablerow"}:
        return f"{{% {tag} {(names or ['item'])[0]} in (1..1) %}}"
    if tag == "capture":
        return f"{{% capture {(names or ['text'])[0]} %}}"
    return "".join(f"{{% assign {name} = nil %}}" for name in names)


def _without_blocks(source: str, environment: ChannelEnvironment) -> BoundTemplate | None:
    """Parse a source whose blocks are wrong as if each ended at once: what is in them can still be checked."""
    flat: list[Replaced] = []
    for start, piece, tag in pieces(source):
        instead = piece
        if tag in _OF_BLOCKS or tag.startswith("end"):
            instead = ""
        elif loop := _LOOP.match(piece):
            instead = f"{{% assign {loop[1]} = {loop[2]} | first %}}"
        elif tag in _INSIDE:
            instead = f"{{% {_INSIDE[tag]} 1 %}}{piece}{{% end{_INSIDE[tag]} %}}"
        elif tag in environment.tags and environment.tags[tag].block:
            instead = f"{piece}{{% end{tag} %}}"
        flat.append((start, start + len(piece), instead))
    with suppress(LiquidError):
        return environment.from_string(_with(flat, source))
    return None


def _unclosed(source: str, environment: ChannelEnvironment) -> Iterator[str]:
    """Yield a sentence about the innermost block that has no end."""
    open_: list[tuple[str, int]] = []
    for start, _, tag in pieces(source):
        if tag in environment.tags and environment.tags[tag].block:
            open_.append((tag, source.count("\n", 0, start) + 1))
        elif open_ and tag == f"end{open_[-1][0]}":
            open_.pop()
    if open_:
        block, line = open_[-1]
        yield f"Line {line}: {{% {block} %}} is never closed; add {{% end{block} %}} where it ends."


def _fault(piece: str, tag: str, environment: ChannelEnvironment) -> tuple[int, str] | None:
    """Return what is wrong with one output or tag by itself, and after how many of its lines."""
    if tag in _OF_BLOCKS or tag.startswith("end"):
        return None
    around = _INSIDE.get(tag, tag)
    block = environment.tags.get(around)
    before = f"{{% {around} 1 %}}" if tag in _INSIDE else ""
    after = f"{{% end{around} %}}" if block is not None and block.block else ""
    try:
        environment.from_string(before + piece + after)
    except (LiquidError, RecursionError) as found:
        token = getattr(found, "token", None)
        inside = max(0, token.start_index - len(before)) if token is not None else 0
        return piece.count("\n", 0, inside), in_words(str(found.args[0] if found.args else found))
    return None
