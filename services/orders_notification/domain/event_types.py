"""Event types: a JSON Schema for the data, with `x-pii` and `x-secret` marks on what must not be shown or stored.

Schemas are checked without network access (no remote `$ref`), with linear-time patterns, and error messages never
repeat a value of the event.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from libs.errors import FieldError, Invalid

MAX_SCHEMA_ERRORS = 20
HIDDEN = "********"
_MAX_MARKS = 500
_MAX_DEPTH = 20

Path = tuple[str, ...]  # property names; "*" stands for every item of a list


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
    """Return the paths of all properties with `mark: true`, through items, allOf/anyOf/oneOf and local $refs."""
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
    name, *rest = path
    if name == "*":
        return [_hidden(item, tuple(rest)) for item in value] if isinstance(value, list) else value
    if not isinstance(value, dict) or name not in value:
        return value
    return value | {name: _hidden(value[name], tuple(rest))}


def _walk(schema: Any, root: Mapping[str, Any], path: Path, mark: str, depth: int = 0) -> Iterator[Path]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    if schema.get(mark) is True:
        yield path
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield from _walk(_resolved(root, reference), root, path, mark, depth + 1)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        for name, inner in properties.items():
            yield from _walk(inner, root, (*path, str(name)), mark, depth + 1)
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from _walk(items, root, (*path, "*"), mark, depth + 1)
    for word in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(word) or ():
            yield from _walk(inner, root, path, mark, depth + 1)


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
