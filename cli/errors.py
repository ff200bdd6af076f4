"""The errors of the command line, each with its exit code and its rendering for people and scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.exits import Exit, of_status
from libs.errors import DepescheError, FieldError, Transient, Unauthorized


class CliError(Exception):
    """Ends a command. `hint` says what to do; `fields` name the places."""

    def __init__(self, title: str, *, exit_code: Exit, hint: str = "", fields: Sequence[FieldError] = ()) -> None:
        # a file's name that is not UTF-8 has lone surrogates, which JSON cannot have
        title = title.encode("utf-8", "backslashreplace").decode()
        super().__init__(title)
        self.title = title
        self.exit_code = exit_code
        self.hint = hint
        self.fields = tuple(fields)
        self.so_far: dict[str, Any] = {}  # what the command had done, for `--json`

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        document: dict[str, Any] = {"error": self.title, "exit_code": int(self.exit_code), **self.so_far}
        if self.hint:
            document["hint"] = self.hint
        if self.fields:
            document["errors"] = [{"pointer": field.pointer, "detail": field.detail} for field in self.fields]
        return document


class UsageError(CliError):
    """The command line or a file is wrong; nothing was sent."""

    def __init__(self, title: str, *, hint: str = "", fields: Sequence[FieldError] = ()) -> None:
        super().__init__(title, exit_code=Exit.USAGE, hint=hint, fields=fields)


class Unreachable(CliError):
    """Nothing answers at the URL."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"Depesche does not answer at {url} ({why}).",
            exit_code=Exit.UNREACHABLE,
            hint="Start it with `depesche up`, or set another URL with DEPESCHE_URL or --url.",
        )


class ProblemAnswer(CliError):
    """The suite responded with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        errors = problem.get("errors") or ()
        detail = str(problem.get("detail") or "")
        if status >= 500 and problem.get("trace_id"):
            detail = f"{detail} Trace id: {problem['trace_id']}"
        fields = [FieldError(str(e.get("pointer", "")), str(e.get("detail", ""))) for e in errors]
        super().__init__(
            str(problem.get("title") or f"The suite responded with {status}"),
            exit_code=of_status(status),
            hint=detail if [field.detail for field in fields] != [detail] else "",
            fields=fields,
        )

    def document(self) -> dict[str, Any]:
        return {**self.problem, "exit_code": int(self.exit_code), **self.so_far}


def of_depesche(error: DepescheError) -> CliError:
    """Convert one of the suite's own errors, raised in this process (settings, files, `up`)."""
    code = Exit.USAGE
    if isinstance(error, Transient):
        code = Exit.UNREACHABLE
    elif isinstance(error, Unauthorized):
        code = Exit.UNAUTHORISED
    elif error.status == 409:
        code = Exit.CONFLICT
    detail = error.detail if [field.detail for field in error.errors] != [error.detail] else ""
    return CliError(error.title, exit_code=code, hint=detail, fields=error.errors)
