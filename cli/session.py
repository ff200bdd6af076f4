"""Shared by all commands: the suite's URL and key, and where output goes.

URL and key come from DEPESCHE_URL and DEPESCHE_KEY, else from the credentials file that `depesche up` writes
(DEPESCHE_DATA_DIR, `.depesche` here or in a folder above, ~/.config/depesche).
"""

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from cli import output
from cli.api import Api
from cli.errors import CliError, of_depesche
from cli.exits import Exit
from libs import credentials
from libs.contracts.outcomes import Mode
from libs.errors import DepescheError

DEFAULT_URL = "http://127.0.0.1:8700"
_PANEL = "Everywhere"

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.", rich_help_panel=_PANEL)]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="DEPESCHE_URL", help="The suite's URL.", rich_help_panel=_PANEL),
]
InMode = Annotated[
    str,
    typer.Option(
        "--mode",
        envvar="DEPESCHE_MODE",
        help="live or test: which key of the credentials file to use. DEPESCHE_KEY takes precedence.",
        rich_help_panel=_PANEL,
    ),
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Session:
    """One run of a command."""

    as_json: bool
    url: str
    key: str | None
    out: Console
    err: Console

    @functools.cached_property
    def api(self) -> Api:
        """The suite's client. Raises if no key was found."""
        if self.key is None:
            raise CliError(
                "No API key was found.",
                exit_code=Exit.UNAUTHORISED,
                hint="Start the suite with `depesche up`: it writes a key to .depesche, which is found from here and "
                "from folders below. For a suite elsewhere, set DEPESCHE_URL and DEPESCHE_KEY.",
            )
        return Api(self.url, self.key)

    def say(self, text: str) -> None:
        """Print a line for people; with --json it is dropped."""
        if not self.as_json:
            self.out.print(text, highlight=False)

    def give(self, data: Any, shown: Callable[[Any], Any] | None = None) -> None:
        """Print the command's result: JSON for scripts, `shown(data)` for people."""
        if self.as_json:
            sys.stdout.write(output.as_json(data) + "\n")
            sys.stdout.flush()  # a full disk is reported while an exit code can still say so
        else:
            self.out.print(shown(data) if shown else output.facts(data))


def open_session(*, as_json: bool, url: str | None, mode: str) -> Session:
    """Return a session from options, environment and credentials file. Raises if they are wrong."""
    if mode not in ("live", "test"):
        raise CliError(f"There is no mode {mode!r}.", exit_code=Exit.USAGE, hint="Use --mode live or --mode test.")
    key = os.environ.get("DEPESCHE_KEY", "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise CliError(
            "DEPESCHE_KEY has characters that no API key has.",
            exit_code=Exit.UNAUTHORISED,
            hint="Keys look like dp_live_<id>_<secret>.",
        )
    path = credentials.find(os.environ, Path.cwd(), Path.home()) if not (url and key) else None
    found = credentials.read(path) if path else None
    if found is not None:
        # a key belongs to its installation: one from a file is not sent to another URL
        if key is None and (url is None or url.rstrip("/") == found.url.rstrip("/")):
            key = found.keys.get(Mode[mode.upper()])
        url = url or found.url
    return Session(as_json, url or DEFAULT_URL, key, output.console(sys.stdout), output.console(sys.stderr))


def command(app: typer.Typer, name: str, *, example: str = "", **options: Any) -> Callable[[F], F]:
    """Register a function whose first parameter is the Session as a command with the common options."""

    def register(function: F) -> F:
        @functools.wraps(function)
        def run(*, as_json: bool, url: str | None, mode: str, **given: Any) -> None:
            with_errors_shown(
                lambda: function(open_session(as_json=as_json, url=url, mode=mode), **given), as_json=as_json
            )

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        common = [
            inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, annotation=AsJson, default=False),
            inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, annotation=Url, default=None),
            inspect.Parameter("mode", inspect.Parameter.KEYWORD_ONLY, annotation=InMode, default="live"),
        ]
        run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *common)}
        epilog = f"Example: {example}" if example else None
        app.command(name, epilog=epilog, **options)(run)
        return function

    return register


_WHAT_IS_SENT_STAYS = "What was already sent stays. Run the command again to continue: existing items are recognised."


def with_errors_shown(run: Callable[[], None], *, as_json: bool = False) -> None:
    """Run a command; turn the errors that we raise on purpose into a message and an exit code."""
    try:
        run()
    except CliError as error:
        raise _ended(error, as_json) from error
    except DepescheError as error:
        raise _ended(of_depesche(error), as_json) from error
    except UnicodeEncodeError as error:
        # an argument, or a file's name, that is not UTF-8: Python carries its bytes as lone surrogates
        wrong = error.object[error.start : error.end]
        title = f"An argument is not UTF-8 text: it contains {wrong!r}; it was not sent."
        raise _ended(CliError(title, exit_code=Exit.USAGE), as_json) from error
    except KeyboardInterrupt as error:
        raise _ended(CliError("Stopped.", exit_code=Exit.STOPPED, hint=_WHAT_IS_SENT_STAYS), as_json) from error
    except BrokenPipeError:
        # the reader of a pipe (head) has seen enough; Python must not complain about it at exit
        _discard_output()
        raise typer.Exit(Exit.OK) from None
    except OSError as error:
        if error.filename is None:
            _discard_output()
            failed = CliError(f"The output cannot be written: {error.strerror or error}.", exit_code=Exit.REFUSED)
            failed.hint = "What was already sent stays."
            raise _ended(failed, as_json=False) from error
        problem = CliError(f"{error.filename} cannot be opened: {error.strerror}.", exit_code=Exit.USAGE)
        raise _ended(problem, as_json) from error


def _discard_output() -> None:
    with contextlib.suppress(OSError, ValueError):  # it may be no file, as in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ended(error: CliError, as_json: bool) -> typer.Exit:
    if as_json:
        sys.stdout.write(output.as_json(error.document()) + "\n")
    else:
        output.console(sys.stderr).print(output.problem(error))
    return typer.Exit(error.exit_code)
