"""Definitions from files: create what is new, change what differs, leave the rest alone.

One table of resources, in order of dependency. All files are read before anything is sent, and every problem is
reported with file and line.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli import documents
from cli.api import Answer, at
from cli.documents import Document
from cli.errors import CliError, ProblemAnswer, UsageError
from cli.exits import Exit
from cli.output import safe, table
from cli.session import Session, command
from libs.errors import FieldError

Paths = Annotated[list[Path], typer.Argument(help="YAML or JSON files, or folders of them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be created or changed.")]

_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# fields that the suite reports about a definition but nobody writes
META = frozenset(
    "name type version state published published_at published_by release_id released outdated webhook hearing"
    " created_at updated_at changed_at".split()
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of definition: its word in files, its path, the suite's defaults for missing fields, and the fields
    that it reports but nobody writes."""

    kind: str
    path: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    named_by: str = "name"
    meta: frozenset[str] = META

    def at(self, name: str) -> str:
        """Return the path of one definition."""
        return at(self.path, name, slashes=self is EVENT_TYPE)


TOPIC = Resource("topic", "/access/v1/topics", {"active": True})
EVENT_TYPE = Resource("event-type", "/orders-notification/v1/event-types", named_by="type")
SENDER = Resource("sender", "/delivery/v1/senders", named_by="number")
SOURCE = Resource("source", "/orders-notification/v1/sources")
TEMPLATE = Resource("template", "/templates/v1/templates")
COMMUNICATION = Resource(
    "communication",
    "/orders-notification/v1/communications",
    {"on_unknown": "leave", "expiry_seconds": 86_400, "mode": "all"},
)
# later kinds may refer to earlier ones
ORDER = (TOPIC, SENDER, EVENT_TYPE, SOURCE, TEMPLATE, COMMUNICATION)
_KNOWN = (*(resource.kind for resource in ORDER), "rule")  # rules for bounces have a command of their own


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one definition."""

    kind: str
    name: str
    result: Literal["created", "changed", "unchanged", "refused"]
    place: str
    problems: tuple[FieldError, ...] = ()

    def document(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"kind": self.kind, "name": self.name, "result": self.result, "file": self.place}
        if self.problems:
            shown["problems"] = [{"place": problem.pointer, "detail": problem.detail} for problem in self.problems]
        return shown


def add_apply(app: typer.Typer, resource: Resource) -> None:
    """Add the `apply` command for one kind."""

    def apply(session: Session, paths: Paths, dry_run: DryRun = False) -> None:
        run(session, paths, (resource,), dry_run=dry_run)

    apply.__doc__ = f"Create or change {resource.kind}s from files; unchanged ones are left alone."
    command(app, "apply", example=f"depesche {resource.kind}s apply shop/{resource.kind}s.yaml")(apply)


def run(session: Session, paths: Sequence[Path], resources: Sequence[Resource], *, dry_run: bool) -> None:
    """Apply, show the results, and exit with 1 if any was refused."""
    outcomes = outcomes_of(session, paths, resources, dry_run=dry_run)
    session.give({"dry_run": dry_run, "outcomes": [o.document() for o in outcomes]}, lambda _: shown(outcomes))
    end_where_refused(session, outcomes)


def outcomes_of(
    session: Session, paths: Sequence[Path], resources: Sequence[Resource], *, dry_run: bool
) -> list[Outcome]:
    """Read all files, then apply each definition in the order of the resources."""
    kinds = {resource.kind: resource.named_by for resource in resources}
    found = documents.read(paths, kinds=kinds, known=_KNOWN)
    if len(resources) > 1 and (nameless := [document for document in found if document.kind is None]):
        problems = [FieldError(document.place(""), f"`kind` is missing: {', '.join(kinds)}.") for document in nameless]
        raise UsageError("Some definitions have no kind; nothing was sent.", fields=problems)
    done: list[Outcome] = []
    ordered = [(resource, document) for resource in resources for document in found]
    for resource, document in ordered:
        if document.kind in (None, resource.kind):
            with told_so_far(lambda: {"outcomes": [outcome.document() for outcome in done]} if done else {}):
                done.append(applied(session, resource, document, dry_run=dry_run))
    return done


@contextmanager
def told_so_far(done: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Let an error that ends the command say what was done before it."""
    try:
        yield
    except CliError as error:
        if so_far := done():
            error.so_far = so_far | error.so_far
            count = sum(map(len, so_far.values()))
            error.hint = f"{error.hint} {count} before it were done; run the command again to continue.".strip()
        raise


def end_where_refused(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Report each problem with its place, and exit with 1 if there is one."""
    if any(outcome.result == "refused" for outcome in outcomes):
        if not session.as_json:
            for line in _problems(outcomes):
                session.err.print(line)
        raise typer.Exit(Exit.REFUSED)


def applied(session: Session, resource: Resource, document: Document, *, dry_run: bool) -> Outcome:
    """Send one definition if it differs from the stored one."""
    path = resource.at(document.name)
    try:
        body = _with_secrets(document)
        current = session.api.fetch(path)
        alike = current is not None and same(resource, body, current)
        # only the suite can compare a sender's secrets: if they are the same, it makes no new version
        if not dry_run and (not alike or resource is SENDER):
            etag = current.etag if current else None
            alike = session.api.put(path, body, etag=etag).etag == etag and etag is not None
        if alike:
            return Outcome(resource.kind, document.name, "unchanged", document.place(""))
    except ProblemAnswer as problem:
        if problem.status in (401, 403) or problem.status >= 500:
            raise
        return Outcome(resource.kind, document.name, "refused", document.place(""), _placed(document, problem))
    return Outcome(resource.kind, document.name, "changed" if current else "created", document.place(""))


def same(resource: Resource, body: Mapping[str, Any], current: Answer) -> bool:
    """Whether applying would change nothing; a sender's secrets count as equal if any are set."""
    if resource is SENDER:
        return _same_sender(body, current.body)
    held = {name: value for name, value in current.body.items() if name not in resource.meta}
    # secrets are never returned, only the start of their digest
    wanted = {name: _fingerprints(value) if name == "secrets" else value for name, value in body.items()}
    if "secrets" not in wanted:
        held.pop("secrets", None)
    return _covers(wanted, held, resource.defaults)


def _same_sender(body: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    account = body.get("account") or {}
    known = {**held["account"], **{name: account[name] for name in held["secrets"] if name in account}}
    rest = {name: value for name, value in body.items() if name != "account"}
    return (
        bool(account) == (held["provider"] == "provider")
        and all(_covers(value, known.get(name), {}) for name, value in account.items())
        and all(_covers(value, held.get(name), {}) for name, value in rest.items())
    )


def _covers(wanted: Any, held: Any, defaults: Mapping[str, Any]) -> bool:
    match wanted, held:
        case dict(), dict():
            return all(_covers(value, held.get(name), defaults) for name, value in wanted.items()) and all(
                _empty(value) or value == defaults.get(name) for name, value in held.items() if name not in wanted
            )
        case list(), list():
            pairs = zip(wanted, held, strict=False)
            return len(wanted) == len(held) and all(_covers(one, other, defaults) for one, other in pairs)
    return bool(wanted == held) or (_empty(wanted) and _empty(held))


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _fingerprints(secrets: Any) -> Any:
    if not isinstance(secrets, list):
        return secrets
    return [hashlib.sha256(str(secret).encode()).hexdigest()[:8] for secret in secrets]


def _with_secrets(document: Document) -> dict[str, Any]:
    body = dict(document.body)
    if isinstance(secrets := body.get("secrets"), list):
        # secrets do not belong in version-controlled files: ${NAME} reads the environment
        body["secrets"] = [_filled(secret, document, "/secrets") for secret in map(str, secrets)]
    if isinstance(account := body.get("account"), dict):
        body["account"] = {name: _filled(value, document, f"/account/{name}") for name, value in account.items()}
    return body


def _filled(value: Any, document: Document, pointer: str) -> Any:
    match value:
        case str():
            return _SECRET.sub(lambda match: _environment(match[1], document, pointer), value)
        case list():
            return [_filled(item, document, pointer) for item in value]
    return value


def _environment(name: str, document: Document, pointer: str) -> str:
    value = os.environ.get(name)
    if value is None:
        detail = f"The environment has no variable {name}; set it, or write the secret itself."
        raise UsageError(detail, fields=[FieldError(document.place(pointer), detail)])
    return value


def _placed(document: Document, problem: ProblemAnswer) -> tuple[FieldError, ...]:
    if not problem.fields:
        return (FieldError(document.place(""), problem.hint or problem.title),)
    return tuple(FieldError(f"{document.place(f.pointer)} {f.pointer}".rstrip(), f.detail) for f in problem.fields)


def shown(outcomes: Sequence[Outcome]) -> Any:
    """Return the results as a table."""
    return table([outcome.document() for outcome in outcomes], ("result", "kind", "name", "file"))


def _problems(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        for problem in outcome.problems:
            yield f"[red]✗[/] [cyan]{safe(problem.pointer)}[/]: {safe(problem.detail)}"
