"""`depesche templates` and `communications`: drafts from files, published, shown, written back to files."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from cli import documents
from cli.apply import (
    COMMUNICATION,
    META,
    ORDER,
    TEMPLATE,
    DryRun,
    Paths,
    Resource,
    add_apply,
    end_where_refused,
    outcomes_of,
    shown,
)
from cli.errors import ProblemAnswer, UsageError
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.session import Session, command
from libs import exact_json

templates = typer.Typer(help="Message texts, by channel and locale.", no_args_is_help=True)
communications = typer.Typer(
    help="Communications: what to send on an event, to whom, on which channels.", no_args_is_help=True
)

_TEMPLATE = ("name", "channel", "state", "published=published version", "locales", "changed_at=changed")
_COMMUNICATION = ("name", "trigger", "state", "released=release", "category", "topic", "changed_at=changed")
_RELEASE = ("version=release", "id", "published_at=published", "published_by=by", "templates")

Names = Annotated[list[str] | None, typer.Argument(help="Their names.")]
All = Annotated[bool, typer.Option("--all", help="All with unpublished edits.")]
Name = Annotated[str, typer.Argument(help="Its name.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A file to write; default: standard output.")]


def apply_all(
    session: Session,
    paths: Paths,
    dry_run: DryRun = False,
    publish: Annotated[bool, typer.Option("--publish", help="Then publish all edits.")] = False,
) -> None:
    """Apply definitions of every kind (`kind:` in each), in order of dependency."""
    outcomes = outcomes_of(session, paths, ORDER, dry_run=dry_run)
    whole = not dry_run and all(outcome.result != "refused" for outcome in outcomes)
    published: list[dict[str, Any]] = []
    if publish and whole:
        for resource in (TEMPLATE, COMMUNICATION):
            published += _published(session, resource, _unpublished(session, resource))
    document = {"dry_run": dry_run, "outcomes": [o.document() for o in outcomes], "published": published}
    session.give(document, lambda _: Group(shown(outcomes), *([_publish_table(published)] if published else [])))
    end_where_refused(session, outcomes)
    _end_where_refused(session, published)


def publish(session: Session, resource: Resource, names: Sequence[str] | None, everything: bool) -> None:
    """Publish each, and report all problems of all; exit with 1 if one was refused."""
    if bool(names) == everything:
        raise UsageError("Give the names to publish, or --all.")
    done = _published(session, resource, names or _unpublished(session, resource))
    session.give(done, _publish_table)
    _end_where_refused(session, done)


def _published(session: Session, resource: Resource, names: Iterable[str]) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    for name in names:
        try:
            answer = session.api.post(f"{resource.at(name)}:publish")
        except ProblemAnswer as problem:
            if problem.status in (401, 403) or problem.status >= 500:
                raise
            done.append({"name": name, "result": "refused", "problems": _problems(problem)})
        else:
            told = {"notices": answer["notices"]} if answer.get("notices") else {}
            done.append({"name": name, "result": "published", "version": answer.get("version"), **told})
    return done


def _publish_table(done: list[dict[str, Any]]) -> RenderableType:
    shown = table(done, ("result", "name", "version"), empty="Everything is already published.")
    notices = [(item["name"], notice) for item in done for notice in item.get("notices", ())]
    return Group(shown, *(f"[yellow]![/] [cyan]{safe(name)}[/]: {safe(notice)}" for name, notice in notices))


def _end_where_refused(session: Session, done: list[dict[str, Any]]) -> None:
    refused = [item for item in done if item["result"] == "refused"]
    if not session.as_json:
        for item in refused:
            for field in item["problems"]:
                place = f"{item['name']} {field['pointer']}".rstrip()
                session.err.print(f"[red]✗[/] [cyan]{safe(place)}[/]: {safe(field['detail'])}")
    if refused:
        raise typer.Exit(Exit.REFUSED)


def _unpublished(session: Session, resource: Resource) -> list[str]:
    edited = [item["name"] for item in session.api.items(resource.path) if item["state"] in ("draft", "changed")]
    if resource is not COMMUNICATION:
        return edited
    # a communication uses the template versions of its release until it is published again
    outdated = [item["name"] for item in session.api.items(resource.path, outdated="true")]
    return sorted({*edited, *outdated})


def _problems(problem: ProblemAnswer) -> list[dict[str, str]]:
    if not problem.fields:
        return [{"pointer": "", "detail": problem.hint or problem.title}]
    return [{"pointer": field.pointer, "detail": field.detail} for field in problem.fields]


def export(session: Session, resource: Resource, names: Sequence[str] | None, output: Path | None) -> None:
    """Write definitions as the YAML that `apply` reads."""
    found = [session.api.get(resource.at(name)) for name in names] if names else session.api.items(resource.path)
    written = [_as_file(resource, item) for item in found]
    if session.as_json:
        session.give(written)
        return
    text = documents.written(written)
    if output is None:
        sys.stdout.write(text)
        return
    output.write_text(text, encoding="utf-8")
    session.say(f"{len(written)} {resource.kind}s written to {safe(str(output))}.")


def _as_file(resource: Resource, item: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in item.items() if name not in META and value not in ("", [], {})}
    pruned: dict[str, Any] = _without_nulls({"kind": resource.kind, "name": item["name"], **body})
    return pruned


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_nulls(item) for name, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
    return value


def _shown(items: Iterable[dict[str, Any]], columns: Sequence[str], empty: str) -> RenderableType:
    rows = [{**item, "locales": sorted(item["locales"])} if "locales" in item else item for item in items]
    return table(rows, columns, empty=empty)


add_apply(templates, TEMPLATE)


@command(templates, "list", example="depesche templates list --channel push")
def list_templates(
    session: Session, channel: Annotated[str | None, typer.Option(help="push, email, sms or webhook.")] = None
) -> None:
    """List all templates; those marked `changed` have unpublished edits."""
    found = list(session.api.items(TEMPLATE.path, channel=channel))
    session.give(found, lambda items: _shown(items, _TEMPLATE, "No templates yet: depesche templates apply FILE."))


@command(templates, "publish", example="depesche templates publish parcel-shipped.push")
def publish_templates(session: Session, names: Names = None, everything: All = False) -> None:
    """Freeze drafts as versions. Communications use them once they are published again."""
    publish(session, TEMPLATE, names, everything)


@command(templates, "export", example="depesche templates export -o templates.yaml")
def export_templates(session: Session, names: Names = None, output: Output = None) -> None:
    """Write templates as YAML; all of them without a name."""
    export(session, TEMPLATE, names, output)


@command(templates, "preview", example="depesche templates preview parcel-shipped.push --locale de --event event.json")
def preview(
    session: Session,
    name: Name,
    locale: Annotated[str | None, typer.Option(help="The recipient's locale; default: the tenant's.")] = None,
    event: Annotated[Path | None, typer.Option(help="JSON file with the event, or its data.")] = None,
    recipient: Annotated[Path | None, typer.Option(help="JSON file with the recipient.")] = None,
) -> None:
    """Preview a template, with an event and a recipient of yours, or with invented ones."""
    body: dict[str, Any] = {"locale": locale, "event": _event(event), "recipient": _json(recipient)}
    found = session.api.post(
        f"{TEMPLATE.at(name)}:preview", {key: value for key, value in body.items() if value is not None}
    )
    session.give(found, _previewed)


def _event(path: Path | None) -> Any:
    found = _json(path)
    # a file with only the data is what people have at hand
    return found if found is None or "data" in found else {"data": found}


def _json(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        found = exact_json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} does not contain a JSON object.")
    return found


def _previewed(found: dict[str, Any]) -> RenderableType:
    lines = Text()
    sizes = found.get("sizes") or {}
    for name, value in found["parts"].items():
        if value in (None, "", {}):
            continue
        size = f"  ({sizes[name]})" if name in sizes else ""
        lines.append(name, style="bold cyan").append(f"{size}\n", style="dim")
        lines.append(f"{value if isinstance(value, str) else exact_json.dumps(value).decode()}\n")
    for warning in found.get("warnings") or ():
        lines.append(f"! {_words(warning)}\n", style="yellow")
    others = [f"{name.replace('_', ' ')}: {size}" for name, size in sizes.items() if name not in found["parts"]]
    title = " · ".join([f"locale: {found['locale']}", *others])
    lines.rstrip()
    return Panel(lines, title=title, title_align="left", expand=False)


def _words(warning: Any) -> str:
    if isinstance(warning, dict):
        return f"{warning.get('pointer', '')} {warning.get('detail', '')}".strip()
    return str(warning)


add_apply(communications, COMMUNICATION)


@command(communications, "list", example="depesche communications list")
def list_communications(session: Session) -> None:
    """List all communications; those marked `changed` have unpublished edits."""
    found = list(session.api.items(COMMUNICATION.path))
    empty = "No communications yet: depesche communications apply FILE."
    session.give(found, lambda items: _shown(items, _COMMUNICATION, empty))


@command(communications, "show", example="depesche communications show order-confirmation")
def show_communication(session: Session, name: Name) -> None:
    """Show one communication with its releases."""
    found = session.api.get(COMMUNICATION.at(name))
    releases = list(session.api.items(f"{COMMUNICATION.at(name)}/releases", most=10))
    session.give({**found, "releases": releases}, lambda _: facts(found))
    if not session.as_json:
        session.out.print("\n[bold]releases[/]")
        session.out.print(table(releases, _RELEASE, empty="Never published."))


@command(communications, "publish", example="depesche communications publish order-confirmation")
def publish_communications(session: Session, names: Names = None, everything: All = False) -> None:
    """Make a release of each. Anything that could fail at sending is refused now, with all problems at once."""
    publish(session, COMMUNICATION, names, everything)


@command(communications, "retire", example="depesche communications retire back-in-stock --yes")
def retire(
    session: Session, name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Send nothing of it any more, not even what is waiting. Publishing it again revives it."""
    if not yes:
        if session.as_json or not session.out.is_terminal:
            raise UsageError(f"The waiting messages of {name} would not be sent.", hint="Confirm with --yes.")
        typer.confirm(f"Retire {name}? Its waiting messages will not be sent.", abort=True)
    session.give(session.api.post(f"{COMMUNICATION.at(name)}:retire"), lambda _: f"{safe(name)} is retired.")


@command(communications, "export", example="depesche communications export -o communications.yaml")
def export_communications(session: Session, names: Names = None, output: Output = None) -> None:
    """Write communications as YAML; all of them without a name."""
    export(session, COMMUNICATION, names, output)
