"""Everything that is wrong with a source that Liquid's parser rejects; the parser itself stops at the first fault."""

from collections.abc import Iterator
from dataclasses import dataclass

from liquid.exceptions import LiquidError

from libs.rendering.environment import ChannelEnvironment
from libs.rendering.faults import explained, in_words, pieces

_MAX_FAULTS = 50  # sentences about one source
_INSIDE = {"elsif": "if", "when": "case"}  # tags that are only valid inside another one
_OF_BLOCKS = frozenset({"else", "break", "continue"})


@dataclass(frozen=True, slots=True)
class Faults:
    """Sentences with their lines, and the source without its faulty pieces, if the rest can still be checked."""

    sentences: list[str]
    rest: str | None


def all_faults(error: BaseException, source: str, environment: ChannelEnvironment) -> Faults:
    """Return the faults of each output and tag; if each is right by itself, the error: a block is never closed."""
    sentences: list[str] = []
    rest: str | None = source
    for start, piece, tag in pieces(source):
        sentence = _fault(source, start, piece, tag, environment)
        foreign = tag not in environment.tags if tag else piece.startswith("{{")
        if sentence is None and not (foreign and tag.startswith("end")):
            continue
        if sentence is not None and len(sentences) < _MAX_FAULTS:
            sentences.append(sentence)
        if not foreign:
            rest = None  # what this tag would assign or repeat is unknown
        elif rest is not None:
            rest = rest[:start] + "".join("\n" if sign == "\n" else " " for sign in piece) + rest[start + len(piece) :]
    if not sentences:
        return Faults(list(_unclosed(source, environment)) or [explained(error)], None)
    return Faults(sentences, rest)


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


def _fault(source: str, start: int, piece: str, tag: str, environment: ChannelEnvironment) -> str | None:
    """Return what is wrong with one output or tag by itself."""
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
        line = source.count("\n", 0, start + min(inside, len(piece))) + 1
        return f"Line {line}: {in_words(str(found.args[0] if found.args else found))}."
    return None
