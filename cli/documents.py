"""Definitions as YAML files: read with the line of every field, and written for easy editing.

YAML 1.2's core schema, because 1.1 has surprises for just these files: `on:` is a key, not a boolean, `22:00` is a
time, not a number of minutes, `no` is Norway. Decimals keep their digits. Duplicate keys are rejected.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from cli.errors import UsageError
from libs.errors import FieldError

_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Document:
    """One definition: its kind and name, its fields, and the line of each."""

    kind: str | None
    name: str
    body: Mapping[str, Any]
    file: Path
    lines: Mapping[str, int] = field(repr=False)

    def place(self, pointer: str) -> str:
        """Return `file:line` of a JSON Pointer, or of the nearest field around it."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return f"{self.file}:{self.lines.get(pointer, 1)}"


class Loader(yaml.SafeLoader):
    """YAML 1.2 core schema."""


class Dumper(yaml.SafeDumper):
    """Multi-line texts as blocks, lists indented under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", "-+0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
    # so that a text which only looks like one of these is written in quotes
    Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))


def _text(dumper: Dumper, text: str) -> Any:
    block = "\n" in text and not any(line != line.rstrip() for line in text.split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if block else None)


Dumper.add_representer(str, _text)
Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", str(value)))


def written(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return definitions as one YAML text."""
    text: str = yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def read(
    paths: Sequence[Path], *, kinds: Mapping[str, str] | None = None, known: Collection[str] = ()
) -> list[Document]:
    """Read all definitions in the files and folders of these kinds (or without one). Raises for all problems at once.

    `kinds`: each with the field that names a definition; None: any kind, named by `name`. `known`: all kinds that
    exist, so that a misspelt one is not taken for one that is not wanted; empty: unchecked."""
    found: list[Document] = []
    problems: list[FieldError] = []
    for file in _files(paths):
        try:
            found += _documents(file, kinds)
        except UsageError as error:
            problems += error.fields
    problems += [
        FieldError(document.place("/kind"), f"There is no kind {document.kind!r}; the kinds are {', '.join(known)}.")
        for document in found
        if known and document.kind is not None and document.kind not in known
    ]
    wanted = [document for document in found if kinds is None or document.kind in (None, *kinds)]
    first: dict[tuple[str | None, str], Document] = {}
    for document in wanted:
        twin = first.setdefault((document.kind, document.name), document)
        if twin is not document:
            problems.append(
                FieldError(document.place(""), f"{document.name!r} is already defined in {twin.place('')}.")
            )
    if problems:
        raise UsageError("These files cannot be read; nothing was sent.", fields=problems)
    if not wanted:
        raise UsageError(
            f"There is no definition in {', '.join(map(str, paths))}.",
            hint="Give YAML files, or folders with some; each definition needs a `name`.",
        )
    return wanted


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix in _ENDINGS
                and not any(part.startswith(".") for part in file.relative_to(path).parts)  # .git, .depesche
                and file.is_file()
            )
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"There is no file or folder {path}.")


def _documents(file: Path, kinds: Mapping[str, str] | None) -> list[Document]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        nodes = [node for node in yaml.compose_all(text, Loader) if node is not None]
    except UnicodeDecodeError as error:
        raise _wrong(file, 1, f"It is not UTF-8: byte {error.start} cannot be read.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _wrong(file, mark.line + 1 if mark else 1, getattr(error, "problem", None) or str(error)) from error
    nodes = [item for node in nodes for item in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    return [_document(file, node, kinds) for node in nodes]


def _document(file: Path, node: yaml.Node, kinds: Mapping[str, str] | None) -> Document:
    lines: dict[str, int] = {}
    value = _value(file, node, "", lines)
    start = node.start_mark.line + 1
    if not isinstance(value, dict):
        raise _wrong(file, start, "A definition must be a mapping with a `name`.")
    kind = value.pop("kind", None)
    if kind is not None and not isinstance(kind, str):
        raise _wrong(file, lines["/kind"], "`kind` must be a word: communication, template, source …")
    if kinds is not None and kind not in (None, *kinds):
        return Document(kind, "", value, file, lines)  # of a kind that is not wanted
    own = kinds.values() if kinds is not None and kind is None else [(kinds or {}).get(kind or "", "name")]
    named_by = next((key for key in (*own, "name") if key in value), None)
    name = value.pop(named_by) if named_by else None
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        raise _wrong(file, start, f"The definition has no `{next(iter(own))}`; give it one.")
    return Document(kind, str(name), value, file, lines)


def _value(file: Path, node: yaml.Node, pointer: str, lines: dict[str, int]) -> Any:
    lines[pointer] = node.start_mark.line + 1
    match node:
        case yaml.MappingNode():
            made: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                if key in made:
                    raise _wrong(file, key_node.start_mark.line + 1, f"The key {key!r} occurs twice; keep one.")
                below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
                made[key] = _value(file, value_node, below, lines)
                lines[below] = key_node.start_mark.line + 1
            return made
        case yaml.SequenceNode():
            return [_value(file, item, f"{pointer}/{index}", lines) for index, item in enumerate(node.value)]
    if node.tag == "!file":
        return _included(file, node)
    return _scalar(node)


def _included(file: Path, node: yaml.Node) -> str:
    """Read a text from its own file, beside this one: `html: !file order.html`."""
    try:
        return (file.parent / str(node.value)).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        line = node.start_mark.line + 1
        raise _wrong(file, line, f"{node.value} cannot be read: {error}.") from error


def _scalar(node: yaml.Node) -> Any:
    match str(node.tag).rpartition(":")[2]:
        case "bool":
            return node.value.lower() == "true"
        case "null":
            return None
        case "int":
            return int(node.value)
        case "float":
            return Decimal(node.value)
    return node.value


def _wrong(file: Path, line: int, detail: str) -> UsageError:
    return UsageError(detail, fields=[FieldError(f"{file}:{line}", detail)])
