"""`depesche bounce mails` and `reclassify`: the results of bounce mails, and reading them again."""

from typing import Annotated, Any

import typer

from cli.api import at
from cli.errors import UsageError
from cli.moments import FORMS, TIME
from cli.output import facts, table
from cli.session import Session, command

commands = typer.Typer()  # part of `depesche bounce`

_PATH = "/bounce/v1/mails"
_MAIL = ("received_at=came", "state", "outcome", "message", "id")

Since = Annotated[str | None, typer.Option(**TIME, help=f"Arrived at or after this time: {FORMS}.")]
Until = Annotated[str | None, typer.Option(**TIME, help="Arrived before this time.")]
Outcome = Annotated[str | None, typer.Option(help="Only with this outcome: undetermined, unknown-user, auto-reply …")]


@command(commands, "mails", example="depesche bounce mails --outcome undetermined --since 7d")
def mails(
    session: Session,
    outcome: Outcome = None,
    state: Annotated[str | None, typer.Option(help="waiting, read or backscatter.")] = None,
    message: Annotated[str | None, typer.Option(help="Only about this message.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="Maximum number.", min=1)] = 50,
) -> None:
    """List bounce mails and their outcomes, newest first."""
    asked = {"outcome": outcome, "state": state, "message": message, "since": since, "until": until}
    found = list(session.api.items(_PATH, most=limit, **asked))
    session.give(found, lambda items: table(items, _MAIL, empty="No matching mails."))


@command(commands, "reclassify", example="depesche bounce reclassify --since 7d --preview")
def reclassify(
    session: Session,
    id: Annotated[str | None, typer.Argument(help="One mail, from `depesche bounce mails`.")] = None,
    since: Since = None,
    until: Until = None,
    outcome: Outcome = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only show how many.")] = False,
) -> None:
    """Read mails again with the current rules: one, or those of a period. Suppressions without a reason left are
    lifted."""
    named = {"since": since, "until": until, "outcome": outcome}
    given = {name: value for name, value in named.items() if value is not None}
    if (id is None) == (since is None) or (id is not None and (given or preview)):
        raise UsageError("Give one mail, or a period with --since.", hint="`depesche bounce mails` lists them.")
    if id is not None:
        session.give(session.api.post(f"{at(_PATH, id)}:reclassify"), facts)
        return
    session.give(session.api.post(f"{_PATH}:reclassify", given | {"preview": preview}), _counted)


def _counted(done: dict[str, Any]) -> str:
    how = "would be read again" if done["preview"] else "are read again, within seconds"
    return f"{done['count']:,} mails {how}."
