"""Event types: a JSON Schema for the data, with `x-pii` and `x-secret` marks on what must not be shown or stored.

Schemas are checked without network access (no remote `$ref`), with linear-time patterns, and error messages never
repeat a value of the event.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from libs.errors import FieldError, Invalid

MAX_SCHEMA_ERRORS = 20
HIDDEN = "********"
MAX_MARKS = 500
_MARKS = ("x-pii", "x-secret")
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Others:
    """Properties that a schema does not name. Ignores patternProperties: it is safer to hide too much."""

    but: frozenset[str]


@dataclass(frozen=True, slots=True)
class From:
    """Items of a list from a position on; `only`: just that one."""

    place: int = 0
    only: bool = False


# property names and positions in lists
Path = tuple[str | Others | From, ...]


@dataclass(frozen=True, slots=True)
class EventType:
    """The declaration of an event type. Without a schema any data match."""

    type: str
    version: int
    schema: Mapping[str, Any] | None
    validator: Any
    pii: tuple[Path, ...]
    secret: tuple[Path, ...]

    def errors_of(self, data: Any) -> list[FieldError]:
        """Return where the data do not match, with pointers from the event's root (`/data/…`); empty if they do."""
        if self.validator is None or self.validator.is_valid(data):
            return []
        found = []
        for error in self.validator.iter_errors(data):
            pointer = "/data" + "".join(f"/{_escaped(part)}" for part in error.instance_path)
            found.append(FieldError(pointer, f"{error.message}."))
            if len(found) == MAX_SCHEMA_ERRORS:
                break
        return found


def event_type(type_: str, version: int, schema: Mapping[str, Any] | None) -> EventType:
    """Compile a schema. Raises Invalid (pointer /schema) for an invalid one."""
    if schema is None:
        return EventType(type_, version, None, None, (), ())
    try:
        validator = jsonschema_rs.validator_for(
            dict(schema),
            offline=True,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        told = getattr(error, "message", None) or str(error)
        path = "".join(f"/{_escaped(part)}" for part in getattr(error, "instance_path", ()))
        raise Invalid(f"This JSON Schema cannot be used: {told}", pointer=f"/schema{path}") from error
    return EventType(type_, version, schema, validator, marked(schema, "x-pii"), marked(schema, "x-secret"))


def check_marks(schema: Mapping[str, Any] | None) -> None:
    """Raise Invalid (pointer into /schema) for a schema whose marks cannot all be followed."""
    places = {} if schema is None else dict(_objects(schema, "/schema"))
    for mark in _MARKS:
        if schema is None or not any(place.get(mark) is True for place in places.values()):
            continue
        for pointer, place in places.items():
            for word in _REFERENCES & place.keys():
                if word != "$ref" or _resolved(schema, place[word]) is None:
                    raise Invalid(
                        f"The mark {mark} is not looked for behind this reference; refer by a path, like #/$defs/name.",
                        pointer=f"{pointer}/{word}",
                    )
        if _marked(schema, mark) is None:
            raise Invalid(
                f"The schema marks more than {MAX_MARKS} values {mark}, counting each place that a $ref leads to; mark "
                "the object that contains them instead.",
                pointer="/schema",
            )


def _objects(value: Any, pointer: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        yield pointer, value
        for name, inner in value.items():
            yield from _objects(inner, f"{pointer}/{_escaped(name)}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _objects(inner, f"{pointer}/{place}")


def marked(schema: Mapping[str, Any], mark: str) -> tuple[Path, ...]:
    """Return the paths of all values whose schema has `mark: true`, in every subschema and through local $refs.

    Beyond MAX_MARKS (only a version without `check_marks` took such a schema) it is the whole data.
    """
    found = _marked(schema, mark)
    return ((),) if found is None else found


def _marked(schema: Mapping[str, Any], mark: str) -> tuple[Path, ...] | None:
    found: dict[Path, None] = {}
    for path in _walk(schema, schema, (), _Search(mark, _leading_to(schema, mark))):
        found[path] = None
        if len(found) > MAX_MARKS:
            return None
    return tuple(found)


def without(data: Any, paths: tuple[Path, ...]) -> Any:
    """Return a copy of the data with the values at these paths hidden; the same object if there are none."""
    for path in paths:
        data = _hidden(data, path)
    return data


def _hidden(value: Any, path: Path) -> Any:
    if not path:
        return HIDDEN
    part, *more = path
    rest = tuple(more)
    match part, value:
        case From(place, only), list():
            end = place + 1 if only else len(value)
            return [_hidden(item, rest) if place <= at < end else item for at, item in enumerate(value)]
        case Others(), dict():
            return {name: inner if name in part.but else _hidden(inner, rest) for name, inner in value.items()}
        case str(), dict() if part in value:
            return value | {part: _hidden(value[part], rest)}
        case _:
            return value


@dataclass(frozen=True, slots=True)
class _Search:
    """`leading`: the ids of the subschemas below which there is a mark; the others need no walk."""

    mark: str
    leading: Set[int]


def _walk(schema: Any, root: Mapping[str, Any], path: Path, search: _Search, depth: int = 0) -> Iterator[Path]:
    if id(schema) not in search.leading:
        return
    if schema.get(search.mark) is True or depth == _MAX_DEPTH:  # a schema that refers to itself: hide what is deeper
        yield path
        return
    for part, inner in _parts(schema, root):
        yield from _walk(inner, root, path if part is None else (*path, part), search, depth + 1)


def _leading_to(root: Mapping[str, Any], mark: str) -> Set[int]:
    """Return the ids of the subschemas that have the mark or lead to one."""
    above: dict[int, list[int]] = {id(root): []}
    waiting: list[Mapping[str, Any]] = [root]
    leading: set[int] = set()
    found: list[int] = []
    while waiting:
        schema = waiting.pop()
        if schema.get(mark) is True:
            found.append(id(schema))
        for _, inner in _parts(schema, root):
            if isinstance(inner, Mapping):
                if id(inner) not in above:
                    above[id(inner)] = []
                    waiting.append(inner)
                above[id(inner)].append(id(schema))
    while found:
        if (one := found.pop()) not in leading:
            leading.add(one)
            found += above[one]
    return leading


_Part = tuple[str | Others | From | None, Any]  # where; None: the same value


def _parts(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[_Part]:
    """Yield the subschemas of a schema."""
    if isinstance(reference := schema.get("$ref"), str):
        yield None, _resolved(root, reference)
    for word in ("allOf", "anyOf", "oneOf"):
        yield from ((None, inner) for inner in _listed(schema.get(word)))
    yield from ((None, schema.get(word)) for word in ("then", "else"))
    for word in ("dependentSchemas", "dependencies"):
        yield from ((None, inner) for inner in _named(schema.get(word)).values())
    yield from _of_objects(schema)
    yield from _of_lists(schema)


def _of_objects(schema: Mapping[str, Any]) -> Iterator[_Part]:
    properties = _named(schema.get("properties"))
    yield from ((str(name), inner) for name, inner in properties.items())
    others = Others(frozenset(map(str, properties)))
    yield from ((others, inner) for inner in _named(schema.get("patternProperties")).values())
    yield from ((others, schema.get(word)) for word in ("additionalProperties", "unevaluatedProperties"))


def _of_lists(schema: Mapping[str, Any]) -> Iterator[_Part]:
    items = schema.get("items")
    first = [*_listed(schema.get("prefixItems")), *_listed(items)]
    yield from ((From(place, only=True), inner) for place, inner in enumerate(first))
    yield From(len(first)), None if isinstance(items, list | tuple) else items
    yield from ((From(len(first)), schema.get(word)) for word in ("additionalItems", "unevaluatedItems"))
    yield From(), schema.get("contains")


def _named(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _resolved(root: Mapping[str, Any], reference: Any) -> Any:
    if reference == "#":
        return root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Any = root
    for part in unquote(reference[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list | tuple):
            found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _escaped(part: Any) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
