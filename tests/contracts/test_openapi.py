"""The OpenAPI document: the committed file matches the code, is valid, and documents every operation."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator

from libs.keyring import Keyring
from libs.openapi import routes_of
from libs.openapi_examples import example_of
from libs.suite import SuiteSettings
from services.__main__ import build, document

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
_SERVER = "http://127.0.0.1:8700"
_VERBS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    # through JSON once, to compare what a reader sees
    served: dict[str, Any] = json.loads(json.dumps(document(build(SuiteSettings(), Keyring(bytes(32))), _SERVER)))
    return served


def operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        for verb, operation in item.items():
            if verb in _VERBS:
                yield f"{verb} {path}", operation


def test_the_committed_document_matches_the_code(made: dict[str, Any]) -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    differing = {path for path in made["paths"] | committed["paths"] if _at(made, path) != _at(committed, path)}
    assert differing == set(), "run `make openapi` and commit docs/openapi.json"
    assert committed == made, "run `make openapi` and commit docs/openapi.json"


def _at(document: dict[str, Any], path: str) -> Any:
    return document["paths"].get(path)


def test_it_is_valid_openapi_3_1(made: dict[str, Any]) -> None:
    assert made["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(made).validate()  # raises, naming the location
    ids = [operation["operationId"] for _, operation in operations(made)]
    assert len(ids) == len(set(ids)) > 80


def test_every_reference_resolves(made: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert set(_references(made)) <= known


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(found := node.get("$ref"), str):
            yield found
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def test_a_merged_body_schema_matches_that_of_its_service(made: dict[str, Any]) -> None:
    """Two services may use one schema name: once, the later schema replaced the earlier in three bodies."""
    services = build(SuiteSettings(), Keyring(bytes(32)))
    alone = {
        f"/{name}{path}": (item, app_document)
        for name, service in services.items()
        for app_document in [json.loads(json.dumps(service.app.openapi()))]
        for path, item in app_document["paths"].items()
    }
    assert alone.keys() == made["paths"].keys()
    for path, (item, app_document) in alone.items():
        for verb, operation in item.items():
            bodies = operation.get("requestBody", {}).get("content", {}), made["paths"][path][verb]
            for type_, media in bodies[0].items():
                merged = bodies[1]["requestBody"]["content"][type_]["schema"]
                assert _whole(media["schema"], app_document) == _whole(merged, made), f"{verb} {path}"


def _whole(node: Any, document: dict[str, Any], above: tuple[str, ...] = ()) -> Any:
    """The schema with its references inlined."""
    if isinstance(node, list):
        return [_whole(child, document, above) for child in node]
    if not isinstance(node, dict):
        return node
    if (name := str(node.get("$ref", "")).rpartition("/")[2]) and name not in above:
        return _whole(document["components"]["schemas"][name], document, (*above, name))
    return {key: _whole(child, document, above) for key, child in node.items() if key != "$ref"}


def test_every_route_of_every_service_is_documented(made: dict[str, Any]) -> None:
    services = build(SuiteSettings(), Keyring(bytes(32)))
    routes = {
        f"{verb.lower()} /{name}{route.path_format}"
        for name, service in services.items()
        for route in routes_of(service.app)
        if route.include_in_schema
        for verb in route.methods or ()
    }
    assert routes == {name for name, _ in operations(made)}


def test_every_status_of_success_is_documented(made: dict[str, Any]) -> None:
    """A generated client takes any other for an error, although the request was carried out."""
    missing = [
        f"{verb} /{name}{route.path_format}: {status}"
        for name, service in build(SuiteSettings(), Keyring(bytes(32))).items()
        for route in routes_of(service.app)
        for verb in route.methods or ()
        for line in re.findall(r"response\.status_code = (.*)", inspect.getsource(route.endpoint))
        for status in re.findall(r"\b2\d\d\b", line)
        if route.include_in_schema
        and status not in made["paths"][f"/{name}{route.path_format}"][verb.lower()]["responses"]
    ]
    assert missing == []


def test_an_edit_that_needs_the_version_takes_it(made: dict[str, Any]) -> None:
    """Otherwise a generated client could create, but never change anything: 428."""
    for name, service in build(SuiteSettings(), Keyring(bytes(32))).items():
        for route in routes_of(service.app):
            if "require_match(" not in inspect.getsource(route.endpoint):
                continue
            path = made["paths"][f"/{name}{route.path_format}"]
            (method,) = route.methods or ()
            assert "If-Match" in [p["name"] for p in path[method.lower()]["parameters"]], f"{method} {route.path}"
            assert "ETag" in path["get"]["responses"]["200"]["headers"], f"GET {route.path}"


def test_every_operation_documents_purpose_guard_and_errors(made: dict[str, Any]) -> None:
    for name, operation in operations(made):
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["x-guard"]) == 1, name
        for status in ("4XX", "5XX"):
            assert "application/problem+json" in operation["responses"][status]["content"], f"{name} {status}"


def test_every_parameter_is_described(made: dict[str, Any]) -> None:
    bare = [
        f"{name}: {parameter['name']}"
        for name, operation in operations(made)
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    assert bare == []


def test_every_body_and_path_parameter_has_an_example(made: dict[str, Any]) -> None:
    bare = []
    for name, operation in operations(made):
        bare += [f"{name}: {p['name']}" for p in operation.get("parameters", ()) if p["in"] == "path" and not _shown(p)]
        bodies = [("body", operation.get("requestBody", {})), *operation["responses"].items()]
        bare += [
            f"{name}: {status}"
            for status, body in bodies
            for type_, media in body.get("content", {}).items()
            if "json" in type_ and media.get("schema", {}).keys() - {"title"} and not _shown(media)
        ]
    assert bare == []


def test_every_example_of_a_body_matches_its_schema(made: dict[str, Any]) -> None:
    """A mock server, or a developer's copy and paste, starts from them."""
    wrong = []
    for name, operation in operations(made):
        bodies = [("body", operation.get("requestBody", {})), *operation["responses"].items()]
        for status, body in bodies:
            for type_, media in body.get("content", {}).items():
                if "json" in type_ and "ndjson" not in type_ and "example" in media and media.get("schema"):
                    whole = media["schema"] | {"components": made["components"]}
                    wrong += [
                        f"{name} {status}: {e.message}"
                        for e in Draft202012Validator(whole).iter_errors(media["example"])
                    ]
    assert wrong == []


def test_a_retry_of_a_post_can_say_that_it_is_one(made: dict[str, Any]) -> None:
    keyed = {
        name
        for name, operation in operations(made)
        if "Idempotency-Key" in [p["name"] for p in operation.get("parameters", ())]
    }
    scoped = {name for name, operation in operations(made) if operation["x-guard"][0].startswith("scope")}
    assert keyed == {name for name in scoped if name.startswith("post ")}


def test_no_example_uses_the_placeholder_text(made: dict[str, Any]) -> None:
    filled = [
        f"{name}: {status}"
        for name, operation in operations(made)
        for status, body in [("body", operation.get("requestBody", {})), *operation["responses"].items()]
        for media in body.get("content", {}).values()
        if '"text"' in json.dumps(list(_values(media.get("example"))))
    ]
    assert filled == [], "add an example to these fields: Field(examples=[…])"


def _values(node: Any) -> Iterator[Any]:
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _values(child)
    if not isinstance(node, dict | list):
        yield node


def _shown(thing: dict[str, Any]) -> bool:
    return any(word in one for word in ("example", "examples") for one in (thing, thing.get("schema", {})))


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["B-1"]}, "B-1"),
        ({"$ref": "#/components/schemas/Order"}, {"number": "B-1", "at": "2027-03-01T09:00:00Z", "note": None}),
        ({"type": "array", "items": {"enum": ["live", "test"]}}, ["live"]),
        ({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 5}]}, 5),
        ({}, None),
    ],
)
def test_an_example_is_built_from_the_schema(schema: dict[str, Any], example: Any) -> None:
    order = {
        "type": "object",
        "properties": {
            "number": {"type": "string", "example": "B-1"},
            "at": {"type": "string", "format": "date-time"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
    }
    assert example_of(schema, {"Order": order}) == example


def test_a_recursive_schema_terminates() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Tree"}}}
    assert "child" in example_of(tree, {"Tree": tree})
