"""Names that somebody may have meant, for errors about an unknown one."""

import difflib
from collections.abc import Iterable
from functools import lru_cache

_MOST = 3
_LONGEST = 100  # comparing takes time quadratic in the length


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that resemble it, the nearest first; case does not matter."""
    return list(_near(name[:_LONGEST], tuple(known)))


@lru_cache(maxsize=1_024)  # of a file with a misspelt field, each row asks the same
def _near(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    written: dict[str, str] = {}
    for one in known:
        written.setdefault(one.casefold()[:_LONGEST], one)
    return tuple(written[one] for one in difflib.get_close_matches(name.casefold(), written, _MOST))


def did_you_mean(names: Iterable[str]) -> str:
    """Return a sentence with a leading space: ` Did you mean 'a' or 'b'?`; empty without names."""
    quoted = [repr(name) for name in names]
    return f" Did you mean {' or '.join(quoted)}?" if quoted else ""
