"""`depesche deadletters`: events that a service failed to process, and what to do with them."""

from typing import Annotated, Any

import typer

from cli.api import at
from cli.errors import CliError, ProblemAnswer, UsageError
from cli.exits import Exit
from cli.output import facts, table
from cli.session import Session, command

deadletters = typer.Typer(help="Events that a service failed to process.", no_args_is_help=True)

# the services with an outbox; a letter belongs to the service that published the event
SERVICES = ("access", "orders-notification", "tokens", "templates", "delivery", "bounce", "history")
_LETTER = ("id", "service", "type", "subscriber", "reason", "attempts=tries", "dead_at=given up")
_GROUP = ("service", "type", "subscriber", "reason", "count", "oldest", "newest")

Ids = Annotated[list[str] | None, typer.Argument(help="Which ones; default: all that match the options.")]
OfService = Annotated[str | None, typer.Option(help="Only events published by this service.")]
Type = Annotated[str | None, typer.Option(help="Only this event type: message.rejected.")]
Subscriber = Annotated[str | None, typer.Option(help="Only those of this subscriber: history.")]
Reason = Annotated[str | None, typer.Option(help="Only reasons with these words.")]


@command(deadletters, "list", example="depesche deadletters list --subscriber history")
def list_dead_letters(
    session: Session,
    service: OfService = None,
    type: Type = None,
    subscriber: Subscriber = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50,
) -> None:
    """List dead letters, the latest first."""
    query = {"type": type, "subscriber": subscriber, "reason": reason}
    found = [
        {**letter, "service": name}
        for name in _services(service)
        for letter in session.api.items(_path(name), most=limit, **query)
    ]
    found = sorted(found, key=lambda letter: str(letter["dead_at"]), reverse=True)[:limit]
    session.give(found, lambda items: table(items, _LETTER, empty="No dead letters: every event was processed."))


@command(deadletters, "groups", example="depesche deadletters groups")
def group_dead_letters(session: Session, service: OfService = None, type: Type = None) -> None:
    """Count dead letters by type, subscriber and reason: what to fix first."""
    found = [
        {**group, "service": name}
        for name in _services(service)
        for group in session.api.get(f"{_path(name)}:groups", type=type)["items"]
    ]
    found.sort(key=lambda group: -int(group["count"]))
    session.give(found, lambda items: table(items, _GROUP, empty="No dead letters: every event was processed."))


@command(deadletters, "show", example="depesche deadletters show 0193c8a4-3b22-7a10-8c4d-2e1f0a9b8c7d")
def show_dead_letter(
    session: Session,
    id: Annotated[str, typer.Argument(help="The letter's id, from `depesche deadletters list`.")],
    service: OfService = None,
) -> None:
    """Show one dead letter with its payload; strings are hidden without pii:read."""
    for name in _services(service):
        try:
            found = session.api.get(at(_path(name), id))
        except ProblemAnswer as problem:
            if problem.status != 404:
                raise
        else:
            session.give({**found, "service": name}, facts)
            return
    raise CliError(
        f"There is no dead letter {id}.",
        exit_code=Exit.NOT_FOUND,
        hint="If there was one, it was replayed or discarded; `depesche actions` shows by whom.",
    )


@command(deadletters, "replay", example="depesche deadletters replay --type message.rejected --subscriber bounce")
def replay_dead_letters(
    session: Session,
    ids: Ids = None,
    service: OfService = None,
    type: Type = None,
    subscriber: Subscriber = None,
    reason: Reason = None,
) -> None:
    """Deliver them to their subscribers again, after the cause was fixed. Those that fail again come back."""
    body = _chosen(ids, type, subscriber, reason)
    done = sum(_act(session, f"{_path(name)}:replay", body) for name in _services(service))
    session.give({"replayed": done}, lambda d: f"{d['replayed']:,} replayed.")


@command(deadletters, "discard", example='depesche deadletters discard --reason "no such scope" --note "test data"')
def discard_dead_letters(
    session: Session,
    note: Annotated[str, typer.Option(help="Why; recorded in the audit.")],
    ids: Ids = None,
    service: OfService = None,
    type: Type = None,
    subscriber: Subscriber = None,
    reason: Reason = None,
) -> None:
    """Discard them for good; the audit records which they were."""
    body = _chosen(ids, type, subscriber, reason) | {"note": note}
    done = sum(_act(session, f"{_path(name)}:discard", body) for name in _services(service))
    session.give({"discarded": done}, lambda d: f"{d['discarded']:,} discarded.")


def _act(session: Session, path: str, body: dict[str, Any]) -> int:
    """Handle a thousand at a time, only those that existed at the start, so that failing ones are not replayed for
    ever."""
    count, until = 0, None
    while True:
        done = session.api.post(path, body if until is None else body | {"until": until})
        count += int(done["count"])
        if not done["more"]:
            if unreadable := done.get("unreadable"):
                session.err.print(f"{unreadable:,} more are unreadable and cannot be replayed: discard them.")
            return count
        until = until or done["at"]


def _chosen(ids: list[str] | None, type: str | None, subscriber: str | None, reason: str | None) -> dict[str, Any]:
    body = {"ids": ids or None, "type": type, "subscriber": subscriber, "reason": reason}
    given = {name: value for name, value in body.items() if value is not None}
    if not given:
        raise UsageError(
            "Select which dead letters.",
            hint="Give ids, or --type, --subscriber or --reason; `depesche deadletters groups` shows which exist.",
        )
    return given


def _services(service: str | None) -> tuple[str, ...]:
    if service is None:
        return SERVICES
    if service not in SERVICES:
        raise UsageError(f"There is no service {service!r}.", hint=f"Use one of {', '.join(SERVICES)}.")
    return (service,)


def _path(service: str) -> str:
    return f"/{service}/v1/dead-letters"
