"""One OpenAPI document for all services: paths as behind an ingress; schemas with the same name are disambiguated."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from libs.auth import Guard
from libs.openapi_examples import add_examples
from libs.web import Problem

_REFERENCE = "#/components/schemas/"
_IDEMPOTENCY_KEY = {  # libs/idempotency.py takes it with every POST
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key, query and body get the first response again, for 24 hours: safe to retry.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "019afe2c-7a31-7cc4-b0a1-3d1f0a2b4c5d",
}
_METHODS = ("get", "put", "post", "delete", "patch")


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Return every route of the app. FastAPI does not flatten included routers: `app.routes` alone shows none of
    theirs."""
    found = (context.original_route for context in iter_route_contexts(app.routes))
    return [route for route in found if isinstance(route, APIRoute)]


def guards_of(route: APIRoute) -> list[Guard]:
    """Return the guards that a route declares: exactly one, or a test fails."""
    found: list[Guard] = []
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        call: object = dependant.call
        if isinstance(call, Guard):
            found.append(call)
        waiting.extend(dependant.dependencies)
    return found


def merged(apps: Mapping[str, FastAPI], *, version: str, server: str) -> dict[str, Any]:
    """Merge the documents of all apps, each under `/<name>`; each operation states its guard."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Depesche",
            "version": version,
            "description": "Customer communication: events in, messages out, and an answer to every why. "
            "Errors are problem details (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": name} for name in apps],
        "paths": {},
        "components": {"schemas": {"Problem": Problem.model_json_schema()}, "securitySchemes": {}},
    }
    for name, app in apps.items():
        _add(document, name, app)
    for operations in document["paths"].values():
        _add_entity_tags(operations)
    add_examples(document)
    return document


def _add_entity_tags(operations: Mapping[str, Any]) -> None:
    """Document the ETag where an operation of the path takes it back as If-Match."""
    if not any(p["name"] == "If-Match" for operation in operations.values() for p in operation.get("parameters", ())):
        return
    tag = {"description": "For If-Match of the next edit.", "schema": {"type": "string"}}
    for operation in operations.values():
        for status in operation["responses"].keys() & {"200", "201"}:
            operation["responses"][status].setdefault("headers", {})["ETag"] = tag


def _add(document: dict[str, Any], name: str, app: FastAPI) -> None:
    part = app.openapi()
    components = part.get("components", {})
    document["components"]["securitySchemes"].update(components.get("securitySchemes", {}))
    renamed = _renamed(components.get("schemas", {}), document["components"]["schemas"], name)
    _point(part, {_REFERENCE + schema: _REFERENCE + target for schema, target in renamed.items()})
    for schema, body in components.get("schemas", {}).items():
        document["components"]["schemas"][renamed.get(schema, schema)] = body
    guards = {
        (route.path_format, method.lower()): guards_of(route)
        for route in routes_of(app)
        for method in route.methods or ()
    }
    for path, operations in part["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                operation["tags"] = [name]
                operation["summary"] = operation["summary"].capitalize()
                operation["operationId"] = f"{name}.{operation['operationId']}"
                operation["x-guard"] = [f"{g.kind}: {g.what}" for g in guards.get((path, method), [])]
                if method == "post" and any(g.kind == "scope" for g in guards.get((path, method), ())):
                    operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        document["paths"][f"/{name}{path}"] = operations


def _renamed(schemas: Mapping[str, Any], known: Mapping[str, Any], service: str) -> dict[str, str]:
    """Return new names for schemas that differ from a known one of the same name, directly or through a reference."""
    prefix = service.title().replace("-", "")
    differing = {schema for schema, body in schemas.items() if known.get(schema, body) != body}
    while more := {s for s in schemas.keys() & known.keys() - differing if set(_references(schemas[s])) & differing}:
        differing |= more
    return {schema: prefix + schema for schema in differing}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(_REFERENCE)
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _point(node: Any, renamed: Mapping[str, str]) -> None:
    match node:
        case dict():
            if isinstance(reference := node.get("$ref"), str) and reference in renamed:
                node["$ref"] = renamed[reference]
            for child in node.values():
                _point(child, renamed)
        case list():
            for child in node:
                _point(child, renamed)
