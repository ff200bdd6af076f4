"""Event types: a JSON Schema for the data, with `x-pii` and `x-secret` marks on what must not be shown or stored.

Schemas are checked without network access (no remote `$ref`), with linear-time patterns, and error messages never
repeat a value of the event.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from libs.errors import FieldError, Invalid

MAX_SCHEMA_ERRORS = 20
HIDDEN = "********"
_MAX_MARKS = 500
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Others:
    """Properties that a schema does not name. Patterns of names are not asked: rather too much is hidden."""

    but: frozenset[str]


@dataclass(frozen=True, slots=True)
class From:
    """Items of a list from a place on; `only`: that one alone."""

    place: int = 0
    only: bool = False


# property names and places in lists
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


def marked(schema: Mapping[str, Any], mark: str) -> tuple[Path, ...]:
    """Return the paths of all values whose schema has `mark: true`, in every subschema and through local $refs."""
    found: dict[Path, None] = {}
    for path in _walk(schema, schema, (), mark):
        found[path] = None
        if len(found) == _MAX_MARKS:
            break
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


def _walk(schema: Any, root: Mapping[str, Any], path: Path, mark: str, depth: int = 0) -> Iterator[Path]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    if schema.get(mark) is True:
        yield path
        return
    for part, inner in _parts(schema, root):
        yield from _walk(inner, root, path if part is None else (*path, part), mark, depth + 1)


_Part = tuple[str | Others | From | None, Any]  # where; None: of the same value


def _parts(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[_Part]:
    """The schemas that one has inside."""
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


def _resolved(root: Mapping[str, Any], reference: str) -> Any:
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for part in reference[2:].split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _escaped(part: Any) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
