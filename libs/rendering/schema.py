"""Check variables against an event type's JSON Schema: which are unknown, and which may be missing.

A property that the schema does not name is unknown, even if JSON Schema would allow additional properties: publishing
finds a typing error in a template, not the customer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.near import did_you_mean, near
from libs.rendering.analysis import ANY, LOOP_FIELDS, Use
from libs.rendering.formats import NO_CURRENCY
from libs.rendering.instead import PEOPLE, VARIABLES

Schema = Mapping[str, Any]

EVENT_FIELDS = frozenset({"id", "type", "source", "subject", "time", "data"})
RECIPIENT_FIELDS = frozenset({"key", "first_name", "last_name", "locale", "zone", "attributes"})
LINK_FIELDS = frozenset({"unsubscribe"})
_FIELDS = {"event": EVENT_FIELDS, "recipient": RECIPIENT_FIELDS, "links": LINK_FIELDS}
_ROOTS = _FIELDS.keys() | LOOP_FIELDS.keys()
_LIST_WORDS = frozenset({"first", "last"})
_SCALARS = frozenset({"string", "number", "integer", "null"})
_MAX_REFERENCES = 32
_MAX_LINES = 12  # named in one sentence


@dataclass(slots=True)
class Checked:
    """Sentences about unknown variables, and the prefixes (as written) that an event may lack."""

    problems: list[tuple[Use, str]] = field(default_factory=list)
    optional: set[str] = field(default_factory=set)


def check_uses(uses: Iterable[Use], schema: Schema | None) -> Checked:
    """Check uses against the schema; without a schema, everything below event.data is allowed."""
    found = Checked()
    unknown: dict[str, list[Use]] = {}
    for use in uses:
        if use.path is None:
            continue
        problem = unknown_path(use.path, schema)
        if not problem and use.is_money and schema is not None and _is_scalar(use.path, schema):
            problem = f"{NO_CURRENCY[:1].upper()}{NO_CURRENCY[1:]}."
        if problem and (use.path[0] in _ROOTS or use.written[0] == use.path[0]):
            unknown.setdefault(problem, []).append(use)  # else the local's own origin is unknown, and reported itself
        elif schema is not None and not problem:
            offset = len(use.written) - len(use.path)  # a local stands for the beginning of the path
            lacking = [index + offset for index in _not_required(use.path, schema, len(use.path) - len(use.written))]
            found.optional |= {use.written[index] for index in lacking if 0 <= index < len(use.written)}
    found.problems = [(of[0], f"{problem} ({_lines(of)})") for problem, of in unknown.items()]
    return found


def _lines(uses: list[Use]) -> str:
    """Return the lines of uses in words: line 3; lines 3, 8 and 12 more."""
    lines = sorted({use.line for use in uses})
    more = f" and {len(lines) - _MAX_LINES} more" if len(lines) > _MAX_LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:_MAX_LINES]))}{more}"


def unknown_path(path: tuple[str, ...], schema: Schema | None) -> str | None:
    """Return why a path into event, recipient or links leads nowhere, as a sentence; None if it may exist."""
    root = path[0]
    if root in LOOP_FIELDS and len(path) > 1:
        return f"{root} has no field {path[1]!r}; it has {', '.join(sorted(LOOP_FIELDS[root]))}."
    if root not in _FIELDS:
        of_recipient = root in PEOPLE and len(path) > 1 and path[1] in RECIPIENT_FIELDS
        meant = f"recipient.{path[1]}" if of_recipient else VARIABLES.get(root, f"event.data.{root}")
        return f"The variable {root!r} is not known; use event, recipient or links, perhaps {meant}."
    if len(path) > 1 and path[1] not in _FIELDS[root] | {ANY}:
        known = ", ".join(sorted(_FIELDS[root]))
        meant = f"; perhaps event.data.{path[1]}" if root == "event" else ""
        return f"{root} has no field {path[1]!r}; it has {known}{meant}."
    if schema is None or path[:2] != ("event", "data"):
        return None
    for index, (following, _) in enumerate(_descent(path[2:], schema)):
        if following is None:
            names = near(path[index + 2], _siblings(path[2 : index + 2], schema))
            return f"The event type's schema has no {'.'.join(path[: index + 3])!r}.{did_you_mean(names)}"
    return None


def _not_required(path: tuple[str, ...], schema: Schema, written_from: int) -> Iterator[int]:
    """Yield the positions on the path where an event may end, by its schema, and all below them: an object may be null,
    a list may be shorter than the index `[0]`. A loop's item, which is not written as an index, is there."""
    if path[:2] != ("event", "data"):
        return
    ends = False
    for index, (following, required) in enumerate(_descent(path[2:], schema), start=2):
        ends = ends or not required or (path[index] == ANY and index > written_from)
        if ends:
            yield index
        ends = ends or any(_may_be_null(each) for at in following or () for each in _resolved(at, schema))
    if ends:  # the schema leaves open what is below
        yield from range(index + 1, len(path))


def _may_be_null(schema: Schema) -> bool:
    return "null" in _kinds(schema) or schema.get("nullable") is True


def _is_scalar(path: tuple[str, ...], schema: Schema) -> bool:
    """Whether a value is a text or a number, so not an object with a currency."""
    at: list[Schema] | None = [schema] if path[:2] == ("event", "data") else None
    for following, _ in _descent(path[2:], schema):
        at = following
    resolved = [one for each in at or () for one in _resolved(each, schema)]
    return bool(resolved) and all(_SCALARS.issuperset(_kinds(one)) for one in resolved)


def _kinds(schema: Schema) -> list[str]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [str(kind)]


def _descent(path: tuple[str, ...], schema: Schema) -> Iterator[tuple[list[Schema] | None, bool]]:
    """Yield the schemas at each part of a path, and whether it is required; ends where the schema leaves it open."""
    at: list[Schema] = [schema]
    for name in path:
        at = [resolved for each in at for resolved in _resolved(each, schema)]
        following, required = _below(at, name)
        yield following, required
        if not following:
            return
        at = following


def _below(schemas: list[Schema], name: str) -> tuple[list[Schema] | None, bool]:
    """Return the schemas of a property or item, and whether it is required; None if it does not exist."""
    found: list[Schema] = []
    required = free = False
    for schema in schemas:
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and name in properties:
            found.append(_mapping(properties[name]))
            required = required or name in schema.get("required", ())
        elif name == ANY or (name in _LIST_WORDS and _is_list(schema)):
            found.extend(_items(schema))
            free = free or _is_list(schema) or not isinstance(properties, Mapping)
        elif name == "size" and not isinstance(properties, Mapping):
            return [], True
        elif isinstance(schema.get("additionalProperties"), Mapping):
            found.append(_mapping(schema["additionalProperties"]))
        elif schema.get("additionalProperties") is True or not _closed(schema):
            free = True
    if not found and not free:
        return None, False
    return found, required or name == ANY


def _siblings(path: tuple[str, ...], root: Schema) -> list[str]:
    """Return the names of the properties at a path that exists."""
    at: list[Schema] = [root]
    for name in path:
        at = _below([resolved for each in at for resolved in _resolved(each, root)], name)[0] or []
    resolved = [one for each in at for one in _resolved(each, root)]
    return sorted({name for one in resolved for name in _mapping(one.get("properties"))})


def _closed(schema: Schema) -> bool:
    """Whether the schema lists its properties; other names are then unknown."""
    if isinstance(schema.get("properties"), Mapping):
        return True
    kind = schema.get("type")
    return kind is not None and "object" not in (kind if isinstance(kind, list) else [kind])


def _is_list(schema: Schema) -> bool:
    kind = schema.get("type")
    return (
        "items" in schema or "prefixItems" in schema or kind == "array" or (isinstance(kind, list) and "array" in kind)
    )


def _items(schema: Schema) -> Iterator[Schema]:
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield items
    for each in schema.get("prefixItems", ()):
        yield _mapping(each)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        values = [_mapping(each) for each in properties.values()]
        yield from values  # by a name known only at render time
        yield {"type": "array", "prefixItems": [{"type": "string"}, {"anyOf": values}]}  # in a loop, as name and value


def _mapping(schema: Any) -> Schema:
    return schema if isinstance(schema, Mapping) else {}


def _resolved(schema: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the schema and everything it is composed of, with references resolved."""
    stack, seen = [schema], 0
    while stack and seen < _MAX_REFERENCES:
        seen += 1
        each = stack.pop()
        composed = [part for word in ("allOf", "anyOf", "oneOf") for part in each.get(word, ())]
        reference = each.get("$ref")
        if isinstance(reference, str):
            composed.append(_referenced(reference, root))
        stack.extend(_mapping(part) for part in composed)
        if not composed or "properties" in each or "items" in each or "type" in each:
            yield each


def _referenced(reference: str, root: Schema) -> Schema:
    at: Any = root
    if not reference.startswith("#"):
        return {}
    for name in reference.removeprefix("#").strip("/").split("/"):
        if name:
            at = _mapping(at).get(name.replace("~1", "/").replace("~0", "~"), {})
    return _mapping(at)
