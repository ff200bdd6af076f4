"""Exit codes that scripts can rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """Printed by `depesche --help`; never renumbered."""

    OK = 0  # done, or the answer is good
    REFUSED = 1  # some of it was refused, or the answer is not good (see the report)
    USAGE = 2  # the command line or a file is wrong; nothing was sent
    UNREACHABLE = 3  # the suite does not answer
    UNAUTHORISED = 4  # no key, a wrong one, or one without the scope
    CONFLICT = 5  # somebody else changed it, or it contradicts what is there
    NOT_FOUND = 6  # nothing under this name
    FAILED = 7  # the suite's own fault; it says a trace id
    STOPPED = 130  # by Ctrl-C, as shells have it


_BY_STATUS = {
    401: Exit.UNAUTHORISED,
    403: Exit.UNAUTHORISED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    428: Exit.CONFLICT,
    429: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


def of_status(status: int) -> Exit:
    """The exit code for an HTTP status that is an error."""
    return _BY_STATUS.get(status, Exit.FAILED if status >= 500 else Exit.REFUSED)


HELP = (
    "Exit codes: 0 done · 1 some of it was refused, or the answer is not good · 2 wrong usage or file · "
    "3 suite unreachable · 4 not authorised · 5 conflict · 6 not found · 7 the suite's own fault · 130 stopped by "
    "Ctrl-C."
)
