"""Names that somebody may have meant, for errors about an unknown one."""

import difflib
from collections.abc import Iterable

_MOST = 3
_LONGEST = 100  # comparing takes time quadratic in the length


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that resemble it, the nearest first; case does not matter."""
    written: dict[str, str] = {}
    for one in known:
        written.setdefault(one.casefold()[:_LONGEST], one)
    return [written[one] for one in difflib.get_close_matches(name.casefold()[:_LONGEST], written, _MOST)]


def did_you_mean(names: Iterable[str]) -> str:
    """Return a sentence with a leading space: ` Did you mean 'a' or 'b'?`; empty without names."""
    quoted = [repr(name) for name in names]
    return f" Did you mean {' or '.join(quoted)}?" if quoted else ""
