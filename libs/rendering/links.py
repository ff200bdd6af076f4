"""Links: http, https and app schemes; never one that runs code or reads the device."""

import re

from liquid.exceptions import LiquidValueError

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*$")
_BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]")  # browsers ignore some of them in schemes
_REFUSED = frozenset(
    "javascript vbscript livescript mocha data file blob about filesystem view-source jar intent content "
    "resource chrome res ms-its mhtml".split()
)
_WEB = frozenset({"http", "https"})


def problem_of_link(link: str, *, web_only: bool = False, absolute: bool = True) -> str | None:
    """Return why this link is not allowed, or None. For whole links; see `checked_start` for the beginning of one."""
    packed = _BLANKS.sub("", link)
    head = re.split(r"[/?#]", packed, maxsplit=1)[0]
    scheme, colon, _ = head.partition(":")
    if not colon:
        return "the link needs a scheme, as in https://shop.example/…" if absolute else None
    lowered = scheme.lower()
    if not _SCHEME.match(lowered) or lowered in _REFUSED:
        return f"links with the scheme {scheme[:20]!r} are not allowed; use https or your app's own"
    if web_only and lowered not in _WEB:
        return "the URL of an image must be http or https"
    if lowered in _WEB and not packed[len(scheme) + 1 :].startswith("//"):
        return f"the link {link[:40]!r} is not complete; write {lowered}://…"
    return None


def checked_start(text: str, *, first: bool) -> None:
    """Check a value that begins a link in HTML; later values may not add a scheme. Raises LiquidValueError."""
    if first:
        problem = problem_of_link(text, absolute=False)
    else:
        head = re.split(r"[/?#]", _BLANKS.sub("", text), maxsplit=1)[0]
        problem = "a link's scheme must come from one value" if ":" in head else None
    if problem:
        raise LiquidValueError(problem, token=None)
