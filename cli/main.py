"""The `depesche` command: the table of its commands is at the bottom."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from cli import (
    access,
    audit,
    bounce,
    dead_letters,
    definitions,
    delivery,
    doctor,
    events,
    explain,
    local,
    publishing,
    recipients,
    senders,
    suppressions,
)
from cli.exits import HELP, Exit
from cli.session import command, with_errors_shown

app = typer.Typer(
    name="depesche",
    help="Depesche: business events become messages, and every message can be explained.",
    epilog=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"depesche {version('depesche')}")
        raise typer.Exit


@app.callback()
def depesche(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Depesche: business events become messages, and every message can be explained."""


# works without a running suite
local.register(app)
doctor.register(app)
# over HTTP
command(app, "apply", example="depesche apply examples/shop --publish")(publishing.apply_all)
explain.register(app)
delivery.register(app)
app.add_typer(delivery.holds, name="holds")
app.add_typer(senders.senders, name="senders")
app.add_typer(delivery.messages, name="messages")
app.add_typer(events.events, name="events")
app.add_typer(events.rejections, name="rejections")
app.add_typer(definitions.sources, name="sources")
app.add_typer(definitions.event_types, name="event-types")
app.add_typer(publishing.templates, name="templates")
app.add_typer(publishing.communications, name="communications")
app.add_typer(recipients.recipients, name="recipients")
app.add_typer(audit.audit, name="audit")
app.add_typer(suppressions.suppressions, name="suppressions")
app.add_typer(bounce.bounce, name="bounce")
app.add_typer(dead_letters.deadletters, name="deadletters")
app.add_typer(access.tenants, name="tenants")
app.add_typer(access.topics, name="topics")
app.add_typer(access.keys, name="keys")


def main() -> None:
    """Run the `depesche` script."""
    try:
        with_errors_shown(app)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            # typer and rich report a failure when the reader of a pipe, such as head, closes it
            sys.exit(Exit.OK)
        raise
    sys.exit(Exit.OK)


if __name__ == "__main__":
    main()
