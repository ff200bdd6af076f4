"""Convert our values to CEL's and back: only the values that are read go in, and exact numbers come out unchanged.

CEL has 64-bit integers and doubles. A Decimal, or an integer beyond 64 bits, is compared as a double; if it passes
through unchanged, the result gets the exact value back. (Results that CEL calculates stay doubles.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from libs.expressions.source import Path, Work

MAX_STEPS = 200_000  # about 60 ms, during which the engine blocks the interpreter
_INT64 = range(-(2**63), 2**64)


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes in what expressions read: the longest list or object, the largest single value, and the longest text
    in units of 256 characters, which take one step to copy."""

    longest: int = 1
    largest: int = 1
    text: int = 1


class Trie(dict[str, "Trie"]):
    """Paths as a tree; an empty tree means the whole value, `_PRESENT` only that there is one."""

    @classmethod
    def of(cls, paths: Iterable[Path], tested: Iterable[Path] = ()) -> "Trie":
        """Return the tree of the paths that are read, and of those that are only tested by has()."""
        root = cls()
        for path in sorted(paths, key=len):  # the shorter path wins: it needs everything below it
            root._add(path)
        for path in sorted(tested, key=len, reverse=True):  # the longer path wins: what is below it is read
            root._add(path, _PRESENT)
        return root

    def _add(self, path: Path, leaf: "Trie | None" = None) -> None:
        at = self
        for depth, name in enumerate(path):
            if name in at:
                at = at[name]
                if not at:
                    return
            elif depth and not at:
                return
            else:
                for rest in path[depth:-1]:
                    at[rest] = Trie()
                    at = at[rest]
                at[path[-1]] = Trie() if leaf is None else leaf
                return


_PRESENT = Trie()


def pruned(value: Any, trie: Trie) -> Any:
    """Return the part of a value that the paths read; a value that is not an object goes in whole."""
    if trie is _PRESENT:
        return True
    if not trie or not isinstance(value, Mapping):
        return value
    return {name: pruned(value[name], below) for name, below in trie.items() if name in value}


def follow(values: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path. Raises KeyError with the missing name, TypeError for a field of what has none."""
    at: Any = values
    for name in path:
        if not isinstance(at, Mapping):
            raise TypeError
        if name not in at:
            raise KeyError(name)
        at = at[name]
    return at


def value_at(values: Any, path: Path, otherwise: Any = None) -> Any:
    """Return the value at a path of objects; `otherwise` if there is none."""
    value = values
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return otherwise
        value = value[name]
    return value


def rounded(value: Any) -> bool:
    """Whether the engine sees an integer as a double, because it has more than 64 bits."""
    return type(value) is int and value not in _INT64


def measured(value: Any) -> Size:
    """Return the size of a value, in the units of `Work`."""
    longest = largest = text = 1
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str | bytes):
            largest = max(largest, len(item) // 16)
            text = max(text, len(item) // 256)
        elif isinstance(item, Mapping):
            longest = max(longest, len(item))
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            longest = max(longest, len(item))
            stack.extend(item)
    return Size(longest, max(longest, largest), text)


def steps(work: Work, size: Size) -> int:
    """Return an upper bound for the steps that an expression takes on an input."""
    longest = max(size.longest, work.literal_items)
    rounds: int = longest**work.depth
    made = rounds * work.growth * (size.text if work.looks_outside else 1)
    if work.reads_outside:
        made *= max(size.largest, work.literal_items)
    made += work.builders * rounds * longest // 20
    return made + rounds * ((work.joins**2 // 2) * max(size.text, size.longest // 8) + work.states * size.text)


def exact_numbers(value: Any) -> dict[float, Any]:
    """Map each double that CEL sees to the exact number behind it; ambiguous ones are left out."""
    found: dict[float, Any] = {}
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, Decimal) or (type(item) is int and item not in _INT64):
            as_double = float(item)
            known = found.setdefault(as_double, item)
            if known is not None and known != item:
                found[as_double] = None
    return {double: exact for double, exact in found.items() if exact is not None}


def restored(result: Any, exact: Mapping[float, Any]) -> Any:
    """Return the result with doubles turned back into the exact numbers they came from."""
    match result:
        case float():
            return exact.get(result, result)
        case list():
            return [restored(item, exact) for item in result]
        case dict():
            return {key: restored(item, exact) for key, item in result.items()}
        case _:
            return result
