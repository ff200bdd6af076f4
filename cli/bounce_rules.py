"""`depesche bounce rules`: rules for bounces, from files; tried, published, rolled back."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from cli.apply import DryRun, Paths, Resource, applied, end_where_refused, shown
from cli.documents import read
from cli.errors import UsageError
from cli.output import facts, safe, table
from cli.session import Session, command

rules = typer.Typer(help="Rules that classify bounces.", no_args_is_help=True)

_PATH = "/bounce/v1"
_META = frozenset("id version in_force author created_at changed_by changed_at switched_off_by hits lost".split())
_FIRST = {"layer": "organisation", "state": "draft"}
RULE = Resource("rule", f"{_PATH}/rules", _FIRST, named_by="id", meta=_META)
_LISTS = frozenset("contains starts regex unless provider reply enhanced stage source switches_off examples".split())
_RULE = ("id", "layer", "state", "category", "version", "in_force=in force", "changed_by=by", "note")
_SET = ("number", "published_at=published", "count=rules", "emergency", "restores", "author=by", "note")
_VERSION = ("version", "state", "changed_at=changed", "changed_by=by")
_MATCHED = ("rule", "layer", "shadow", "category", "priority", "by")
_UNDONE = ("count", "category", "provider", "rule", "policy")

Id = Annotated[str, typer.Argument(help="The rule's id, from `depesche bounce rules list`.")]
Note = Annotated[str, typer.Option(help="Why; recorded in the audit.")]


@command(rules, "list", example="depesche bounce rules list --layer organisation --state live")
def list_rules(
    session: Session,
    layer: Annotated[str | None, typer.Option(help="shipped, organisation or emergency.")] = None,
    state: Annotated[str | None, typer.Option(help="draft, shadow, live or retired.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category: unknown-user.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider: gmail.")] = None,
    text: Annotated[str | None, typer.Option(help="Text in id, words, note or examples.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 100,
) -> None:
    """List all rules by id, including the shipped ones; `in force` is the version in the newest set."""
    query = {"layer": layer, "state": state, "category": category, "provider": provider, "text": text}
    found = list(session.api.items(RULE.path, most=limit, **query))
    session.give(found, lambda items: table(items, _RULE, empty="No matching rules."))


@command(rules, "show", example="depesche bounce rules show our-house-rule")
def show_rule(
    session: Session,
    id: Id,
    history: Annotated[bool, typer.Option("--history", help="Every version and its author.")] = False,
) -> None:
    """Show one rule."""
    if history:
        found = list(session.api.items(f"{RULE.at(id)}/history"))
        session.give(found, lambda items: table(items, _VERSION))
        return
    session.give(session.api.get(RULE.at(id)), facts)


@command(rules, "apply", example="depesche bounce rules apply rules/bounces.yaml")
def apply_rules(session: Session, paths: Paths, dry_run: DryRun = False) -> None:
    """Create or change rules from files; unchanged ones are left alone. `publish` puts them in force."""
    found = [replace(document, body=_listed(document.body)) for document in read(paths, kinds={"rule": "id"})]
    outcomes = [applied(session, RULE, document, dry_run=dry_run) for document in found]
    session.give({"dry_run": dry_run, "outcomes": [o.document() for o in outcomes]}, lambda _: shown(outcomes))
    end_where_refused(session, outcomes)


@command(rules, "retire", example="depesche bounce rules retire our-house-rule")
def retire_rule(session: Session, id: Id) -> None:
    """Retire a rule; the next rule set will not contain it."""
    session.give(session.api.post(f"{RULE.at(id)}:retire"), facts)


@command(rules, "test", example='depesche bounce rules test "550 5.1.1 house rule" --provider gmail')
def try_rules(
    session: Session,
    text: Annotated[str | None, typer.Argument(help="A server's reply; - reads standard input.")] = None,
    mail: Annotated[Path | None, typer.Option(help="A file with a whole bounce mail, instead of a text.")] = None,
    reply: Annotated[int | None, typer.Option(help="The reply code, if the text does not contain it.")] = None,
    enhanced: Annotated[str | None, typer.Option(help="The enhanced code: 5.1.1.")] = None,
    provider: Annotated[str | None, typer.Option(help="The provider that replied: gmail.")] = None,
    stage: Annotated[str | None, typer.Option(help="connect, helo, mail, rcpt or data.")] = None,
) -> None:
    """Show how the rules in force, and the draft, read a reply or mail; nothing is written."""
    if (text is None) == (mail is None):
        raise UsageError("Give either a text or --mail FILE.")
    body = {"text": _piped(text), "mail": _read(mail), "reply": reply, "enhanced": enhanced}
    body |= {"provider": provider, "stage": stage}
    found = session.api.post(f"{RULE.path}:test", {name: value for name, value in body.items() if value is not None})
    session.give(found, lambda both: Group(_opinion("In force", both["in_force"]), _opinion("Draft", both["draft"])))


@command(rules, "sets", example="depesche bounce rules sets")
def list_sets(session: Session, limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 20) -> None:
    """List published rule sets, the one in force first."""
    found = list(session.api.items(f"{_PATH}/rule-sets", most=limit))
    session.give(found, lambda items: table(items, _SET))


@command(rules, "publish", example='depesche bounce rules publish --note "house rules of two providers"')
def publish(
    session: Session,
    note: Note,
    acknowledge: Annotated[
        list[str] | None, typer.Option(help="A shipped rule that may lose some of its own examples; may be repeated.")
    ] = None,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency", help="Only the emergency layer; failing examples are reported, but do not block it."
        ),
    ] = False,
    replay: Annotated[
        str | None, typer.Option(help="The replay that you have reviewed; refused if the rules have changed since.")
    ] = None,
) -> None:
    """Put all shadow and live rules in force, as a new set. If refused, it shows every problem at once."""
    body = {"note": note, "acknowledged": acknowledge or [], "emergency": emergency}
    found = session.api.post(f"{_PATH}/rule-sets", body | ({"replay": replay} if replay else {}))
    session.give(found, lambda made: f"Rule set {made['number']} with {made['count']} rules of yours is in force.")


@command(rules, "rollback", example='depesche bounce rules rollback 6 --undo-effects --note "full is not dead"')
def roll_back(
    session: Session,
    number: Annotated[int, typer.Argument(help="The set to return to, from `sets`; 0: only the shipped rules.")],
    note: Note,
    undo_effects: Annotated[
        bool, typer.Option("--undo-effects", help="Lift later suppressions that this set would not have placed.")
    ] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would be lifted.")] = False,
) -> None:
    """Put an earlier set in force again, under a new number."""
    body = {"note": note, "undo_effects": undo_effects, "preview": preview}
    found = session.api.post(f"{_PATH}/rule-sets/{number}:roll-back", body)
    session.give(found, _rolled_back)


def _listed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Normalise as the suite stores it: a single text becomes a list, a code becomes a text."""
    made = dict(body)
    for name in _LISTS & body.keys():
        items = body[name] if isinstance(body[name], list) else [body[name]]
        made[name] = [str(item) if type(item) is int else item for item in items]
    return made


def _rolled_back(found: Mapping[str, Any]) -> RenderableType:
    effects, made = found["effects"], found["rule_set"]
    lines: list[RenderableType] = []
    if made is not None:
        lines.append(f"Rule set {made['restores']} is in force again, as number {made['number']}.")
    verb = "would be lifted" if made is None else "may be written to again"
    lines.append(f"{effects['lifted']:,} suppressions {verb}; {effects['void']:,} facts no longer count as evidence.")
    if effects["groups"]:
        lines.append(table(effects["groups"], _UNDONE))
    return Group(*lines)


def _opinion(title: str, opinion: Mapping[str, Any]) -> RenderableType:
    rows = [{**one, "by": [f"{hit['pointer']} {hit['says']}" for hit in one["by"]]} for one in opinion["matched"]]
    said = f"\n[bold]{title}[/]: {safe(opinion['category'])} ({safe(opinion['action'])}), confidence"
    return Group(f"{said} {opinion['confidence']}", table(rows, _MATCHED, empty="No rule matched."))


def _piped(text: str | None) -> str | None:
    return sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
