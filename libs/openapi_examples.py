"""Examples for the OpenAPI document: what a route does not show by hand is built from its schema.

A schema's own example comes first, then its fields' examples; only the rest is made up. So every route shows a
complete response, and nobody writes it twice.
"""

from collections.abc import Mapping
from typing import Any

_MADE_UP = {
    "date-time": "2027-03-01T09:00:00Z",
    "date": "2027-03-01",
    "uuid": "019afe2c-7a31-7cc4-b0a1-3d1f0a2b4c5d",
    "uri": "https://shop.example/",
    "email": "ada@mail.example",
}
_BY_TYPE: Mapping[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_DEEPEST = 8


def add_examples(document: dict[str, Any]) -> None:
    """Add an example to every JSON body and path parameter of the document that has none."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and not _shown(parameter) and not _shown(parameter["schema"]):
                    parameter["example"] = example_of(parameter["schema"], schemas)
            for answer in (operation.get("requestBody", {}), *operation["responses"].values()):
                for type_, media in answer.get("content", {}).items():
                    if "json" in type_ and not _shown(media):
                        _show(media, schemas)
                    if "example" in media:
                        media["example"] = _with_nulls(media["example"], media.get("schema", {}), schemas)


def _show(media: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    if (example := example_of(media.get("schema", {}), schemas)) is not None:
        media["example"] = example


def _shown(thing: Mapping[str, Any]) -> bool:
    return "example" in thing or "examples" in thing


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that matches the schema, as far as the schema determines it."""
    if reference := schema.get("$ref"):
        return example_of(schemas[reference.rpartition("/")[2]], schemas, depth)
    if schema.get("examples"):
        return schema["examples"][0]
    if word := next((word for word in ("example", "const", "default") if word in schema), None):
        return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    if depth > _DEEPEST:
        return None
    for word in ("anyOf", "oneOf"):
        if choices := [one for one in schema.get(word, ()) if one.get("type") != "null"]:
            return example_of(choices[0], schemas, depth + 1)
    return _made(schema, schemas, depth)


def _with_nulls(example: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return the example with the required fields that are null: FastAPI leaves null out of what it writes."""
    if reference := schema.get("$ref"):
        return _with_nulls(example, schemas[reference.rpartition("/")[2]], schemas)
    choices = [one for word in ("anyOf", "oneOf") for one in schema.get(word, ()) if one.get("type") != "null"]
    if len(choices) == 1:
        return _with_nulls(example, choices[0], schemas)
    if isinstance(example, list):
        return [_with_nulls(item, schema.get("items", {}), schemas) for item in example]
    if not isinstance(example, dict):
        return example
    fields, other = schema.get("properties", {}), schema.get("additionalProperties")
    whole = dict.fromkeys(name for name in schema.get("required", ()) if _may_be_null(fields.get(name, {})))
    for name, value in example.items():
        of = fields.get(name, other if isinstance(other, dict) else {})
        whole[name] = _with_nulls(value, of, schemas)
    return whole


def _may_be_null(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in schema.get("anyOf", ()))


def _made(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return [example_of(schema.get("items", {}), schemas, depth + 1)]
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        return {name: example_of(field, schemas, depth + 1) for name, field in fields.items()}
    return _MADE_UP.get(schema.get("format", ""), schema.get("minimum") or _BY_TYPE.get(str(kind)))
