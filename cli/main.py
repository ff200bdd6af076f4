"""The `depesche` command: the table of its commands is at the bottom."""

import codecs
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any

import typer

# typer has its own copy of click, and no public name for these
from typer._click.exceptions import ClickException, UsageError
from typer.core import TyperGroup

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
from cli.errors import UsageError as WrongUsage
from cli.exits import HELP, Exit
from cli.output import as_json
from cli.session import command, with_errors_shown


class Commands(TyperGroup):
    """The commands. With `--json`, wrong usage is a JSON document on standard output too, like every other error."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        as_document = standalone_mode and "--json" in given
        run = partial(super().main, given, prog_name, complete_var, windows_expand_args=windows_expand_args, **extra)
        if not as_document:
            return run(standalone_mode=standalone_mode)
        try:
            code = run(standalone_mode=False)
        except ClickException as error:
            hint = f"See `{error.ctx.command_path} --help`." if isinstance(error, UsageError) and error.ctx else ""
            sys.stdout.write(as_json(WrongUsage(error.format_message(), hint=hint).document()) + "\n")
            sys.exit(Exit.USAGE)
        except typer.Abort:  # at a question
            sys.stderr.write("Aborted.\n")
            sys.exit(Exit.REFUSED)
        sys.exit(code if isinstance(code, int) else Exit.OK)


app = typer.Typer(
    name="depesche",
    cls=Commands,
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


def _as_in_json(error: UnicodeError) -> tuple[str, int]:
    """Write what the terminal's encoding lacks as \\uXXXX, which a reader of `--json` understands."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end


codecs.register_error("json", _as_in_json)


def main() -> None:
    """Run the `depesche` script."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by the caller, as in `>&-`
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # a terminal of another encoding, or a file's name that is no text, must not hide what was done
            stream.reconfigure(errors="json")
    try:
        with_errors_shown(app)
    except typer.Exit as end:  # of an error outside a command
        sys.exit(end.exit_code)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            # typer and rich report a failure when the reader of a pipe, such as head, closes it
            sys.exit(Exit.OK)
        raise
    sys.exit(Exit.OK)


if __name__ == "__main__":
    main()
