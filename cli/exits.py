"""Exit codes that scripts can rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """Printed by `depesche --help`; never renumbered."""

    OK = 0  # done, or the verdict is good
    REFUSED = 1  # some of it was refused, or the verdict is not good (see the report)
    USAGE = 2  # the command line or a file is wrong; nothing was sent
    UNREACHABLE = 3  # the suite does not answer
    UNAUTHORISED = 4  # no key, a wrong one, or one without the scope
    CONFLICT = 5  # somebody else changed it, or it contradicts the current state
    NOT_FOUND = 6  # there is no such object
    FAILED = 7  # the suite's own fault, with a trace id
    STOPPED = 130  # by Ctrl-C, as in shells


_BY_STATUS = {
    401: Exit.UNAUTHORISED,
    403: Exit.UNAUTHORISED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    428: Exit.CONFLICT,
    429: Exit.UNREACHABLE,
    502: Exit.UNREACHABLE,  # a proxy's: the suite behind it does not answer
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}


def of_status(status: int) -> Exit:
    """Return the exit code for an HTTP error status."""
    return _BY_STATUS.get(status, Exit.FAILED if status >= 500 else Exit.REFUSED)


HELP = (
    "Exit codes: 0 done · 1 some of it was refused, or the verdict is not good · 2 wrong usage or file · "
    "3 suite unreachable · 4 not authorised · 5 conflict · 6 not found · 7 internal error · 130 stopped by "
    "Ctrl-C."
)
