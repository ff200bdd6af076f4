"""Pydantic's errors about a body, as ours: a JSON Pointer and a sentence each; unknown fields name those near them."""

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from libs.errors import FieldError
from libs.near import did_you_mean, near

_COMPARED = 20  # errors of one request that name near fields: a hostile one has a million


def field_errors(errors: Sequence[Any], body: Any, shape: Any = None) -> list[FieldError]:
    """Return the errors of a request; `shape`: the annotation of its body."""
    found = []
    for number, error in enumerate(errors):
        place, *path = error["loc"]
        compared = place == "body" and number < _COMPARED
        said = sentence(error, shape, path) if compared else sentence(error)
        if place == "body":
            path = _within(body, path, last_too=error["type"] == "missing")
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
        found.append(FieldError(pointer if place == "body" else pointer.removeprefix("/"), said))
    return found


def _within(body: Any, path: Sequence[Any], *, last_too: bool) -> list[Any]:
    """Return the parts of a path that exist in the body: Pydantic also names branches of its unions, which are not
    fields."""
    kept: list[Any] = []
    at = body
    for index, part in enumerate(path):
        if (isinstance(at, Mapping) and part in at) or (isinstance(at, list) and part in range(len(at))):
            at = at[part]
        elif not last_too or index < len(path) - 1:
            continue
        kept.append(part)
    return kept


def sentence(error: Mapping[str, Any], shape: Any = None, path: Sequence[Any] = ()) -> str:
    """Return the sentence for people about a Pydantic error; `path` leads to the field in `shape`, an annotation."""
    match error["type"]:
        case "extra_forbidden":
            names = near(str(path[-1]), _fields(shape, path[:-1])) if path else []
            return f"There is no such field.{did_you_mean(names)} Remove it, or check its name at /docs."
        case "missing":
            return "This field is required; it is missing."
        case "timezone_aware" | "datetime_parsing" | "datetime_from_date_parsing":
            return "This is not a time with an offset; write 2026-03-01T09:30:00+01:00, or Z for UTC."
    message = str(error["msg"]).removeprefix("Value error, ")
    return message.encode("utf-8", "replace").decode()


def _fields(shape: Any, path: Sequence[Any]) -> list[str]:
    """Return the names of the fields of the models to which the path leads."""
    at = list(_members(shape))
    for part in path:
        below = [inner for one in at for inner in _below(one, part)]
        at = below or at  # the name of a union's branch is no step
    models = [one for one in at if isinstance(one, type) and issubclass(one, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _below(annotation: Any, part: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part == (field.alias or name):
                yield from _members(field.annotation)
    elif arguments := get_args(annotation):  # a list or a dictionary
        yield from _members(arguments[-1])


def _members(annotation: Any) -> Iterator[Any]:
    """Yield an annotation, or the members of a union."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
