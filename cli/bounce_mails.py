"""`depesche bounce mails` and `reclassify`: what became of mails that came back, and reading them again."""

from typing import Annotated, Any

import typer

from cli.errors import UsageError
from cli.output import facts, table
from cli.session import Session, command

commands = typer.Typer()  # of `depesche bounce`

_PATH = "/bounce/v1/mails"
_MAIL = ("received_at=came", "state", "outcome", "message", "id")

Since = Annotated[str | None, typer.Option(help="Arrived from this moment on: 2027-03-01T00:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Arrived before this moment.")]
Outcome = Annotated[str | None, typer.Option(help="That ended so: undetermined, unknown-user, auto-reply …")]


@command(commands, "mails", example="depesche bounce mails --outcome undetermined --since 2027-03-01T00:00:00Z")
def mails(
    session: Session,
    outcome: Outcome = None,
    state: Annotated[str | None, typer.Option(help="waiting, read or backscatter.")] = None,
    message: Annotated[str | None, typer.Option(help="About this message.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
) -> None:
    """Mails that came back and what became of them, the newest first."""
    asked = {"outcome": outcome, "state": state, "message": message, "since": since, "until": until}
    found = list(session.api.items(_PATH, most=limit, **asked))
    session.give(found, lambda items: table(items, _MAIL, empty="No such mail."))


@command(commands, "reclassify", example="depesche bounce reclassify --since 2027-03-01T00:00:00Z --preview")
def reclassify(
    session: Session,
    id: Annotated[str | None, typer.Argument(help="One mail, from `depesche bounce mails`.")] = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only say how many.")] = False,
) -> None:
    """Read mails again by the rules of today: one, or those of a time. What they say no more is let go."""
    named = {"since": since, "until": until, "outcome": outcome}
    given = {name: value for name, value in named.items() if value is not None}
    if (id is None) == (since is None) or (id is not None and (given or preview)):
        raise UsageError("Name one mail, or a time with --since.", hint="`depesche bounce mails` lists them.")
    if id is not None:
        session.give(session.api.post(f"{_PATH}/{id}:reclassify"), facts)
        return
    session.give(session.api.post(f"{_PATH}:reclassify", given | {"preview": preview}), _counted)


def _counted(done: dict[str, Any]) -> str:
    how = "would be read again" if done["preview"] else "are read again, within seconds"
    return f"{done['count']:,} mails {how}."
