"""`depesche templates` and `communications`: drafts from files, published, shown, written back to files."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from cli import documents
from cli.apply import (
    COMMUNICATION,
    META,
    ORDER,
    TEMPLATE,
    DryRun,
    Outcome,
    Paths,
    Resource,
    add_apply,
    end_where_refused,
    outcomes_of,
    shown,
    told_so_far,
)
from cli.errors import ProblemAnswer, UsageError
from cli.exits import Exit
from cli.output import facts, safe, table
from cli.previewing import event_in, object_in, preview_shown, schema_for
from cli.session import Session, command

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
    publish: Annotated[bool, typer.Option("--publish", help="Then publish what these files define.")] = False,
) -> None:
    """Apply definitions of every kind (`kind:` in each), in order of dependency. With --publish, communications that
    use a newly published template are published again; edits of others in the suite are left alone."""
    outcomes = outcomes_of(session, paths, ORDER, dry_run=dry_run)
    whole = not dry_run and all(outcome.result != "refused" for outcome in outcomes)
    published: list[dict[str, Any]] = []
    with told_so_far(lambda: {"outcomes": [o.document() for o in outcomes]}):
        if publish and whole:
            published = _published(session, TEMPLATE, _edited(session, TEMPLATE, _names(outcomes, TEMPLATE)))
            published += _published(session, COMMUNICATION, _to_publish_again(session, outcomes))
    document = {"dry_run": dry_run, "outcomes": [o.document() for o in outcomes], "published": published}
    session.give(document, lambda _: Group(shown(outcomes), *([_publish_table(published)] if published else [])))
    if publish and not whole and not dry_run and not session.as_json:
        session.err.print("Nothing was published, because some definitions were refused.")
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
        with told_so_far(lambda: {"published": done} if done else {}):
            done.append(_published_one(session, resource, name))
    return done


def _published_one(session: Session, resource: Resource, name: str) -> dict[str, Any]:
    try:
        answer = session.api.post(f"{resource.at(name)}:publish")
    except ProblemAnswer as problem:
        if problem.status in (401, 403) or problem.status >= 500:
            raise
        return {"name": name, "result": "refused", "problems": _problems(problem)}
    told = {"notices": answer["notices"]} if answer.get("notices") else {}
    return {"name": name, "result": "published", "version": answer.get("version"), **told}


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


def _names(outcomes: Sequence[Outcome], resource: Resource) -> set[str]:
    return {outcome.name for outcome in outcomes if outcome.kind == resource.kind}


def _edited(session: Session, resource: Resource, names: set[str]) -> list[str]:
    return [name for name in _unpublished(session, resource) if name in names]


def _to_publish_again(session: Session, outcomes: Sequence[Outcome]) -> list[str]:
    """Return the files' communications with edits, and all that use older versions of the files' templates."""
    own, texts = _names(outcomes, COMMUNICATION), _names(outcomes, TEMPLATE)
    named = _edited(session, COMMUNICATION, own)
    for item in session.api.items(COMMUNICATION.path, outdated="true"):
        if item["name"] in own or texts.isdisjoint(item.get("outdated") or ()):
            continue
        if item["state"] == "published":
            named.append(item["name"])
        elif not session.as_json:
            session.err.print(
                f"[yellow]![/] {safe(item['name'])} has other unpublished edits, so it keeps its older texts: "
                f"depesche communications publish {safe(item['name'])}"
            )
    return sorted(named)


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


@command(templates, "show", example="depesche templates show parcel-shipped.push")
def show_template(session: Session, name: Name) -> None:
    """Show one template's draft with its texts."""
    found = session.api.get(TEMPLATE.at(name))
    session.give(found, lambda item: facts({field: value for field, value in item.items() if field != "locales"}))
    if not session.as_json:
        session.out.print(Text("\n" + documents.written([{"locales": found["locales"]}]).rstrip()))


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
    locale: Annotated[str | None, typer.Option(help="The recipient's locale; default: English, or the first.")] = None,
    event: Annotated[Path | None, typer.Option(help="JSON file with an event, or its data.")] = None,
    recipient: Annotated[Path | None, typer.Option(help="JSON file with the recipient.")] = None,
    event_type: Annotated[
        str | None,
        typer.Option(help="Its schema says what may be missing, and invents an event; default: the event's."),
    ] = None,
) -> None:
    """Preview a template, with an event and a recipient of yours, or with invented ones."""
    given = event_in(event)
    body: dict[str, Any] = {"locale": locale, "event": given, "recipient": object_in(recipient)}
    body["event_schema"] = schema_for(session, event_type, (given or {}).get("type"))
    try:
        found = session.api.post(
            f"{TEMPLATE.at(name)}:preview", {key: value for key, value in body.items() if value is not None}
        )
    except ProblemAnswer as problem:
        if given is None and body["event_schema"] is None and problem.status == 422:
            problem.hint = f"{problem.hint} Without --event FILE or --event-type TYPE the event has no data.".strip()
        raise
    session.give(found, preview_shown)


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
