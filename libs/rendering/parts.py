"""The parts of each channel's templates, and their sources compiled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from libs.errors import FieldError, Invalid
from libs.rendering.environment import ChannelEnvironment
from libs.rendering.html import cut
from libs.rendering.html_text import text_source
from libs.rendering.limits import MAX_EMAIL_BYTES, MAX_SHORT_SOURCE, MAX_SOURCE, MAX_WEBHOOK_BYTES
from libs.rendering.text import Text, Wanted
from libs.rendering.values import plain

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "push": ("title", "body"),
    "email": ("subject", "html"),
    "sms": ("text",),
    "webhook": ("json",),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "push": ("image", "link", "collapse_key", "data", "ttl_seconds"),
    "email": ("text", "preheader", "from_name", "reply_to"),
    "sms": (),
    "webhook": (),
}
MAX_TTL = 28 * 86_400  # FCM's limit: four weeks
_DATA_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
_RESERVED_DATA = re.compile(r"^(from|message_type|notification|message|google\..*|gcm\..*)$", re.IGNORECASE)
_BODY = re.compile(r"<!--|<body\b[^>]*>", re.IGNORECASE)
_LONG = {("email", "html"): MAX_EMAIL_BYTES, ("email", "text"): MAX_EMAIL_BYTES, ("webhook", "json"): MAX_WEBHOOK_BYTES}


@dataclass(slots=True)
class Parts:
    """The compiled sources of one template in one locale."""

    channel: str
    pointer: str
    texts: dict[str, Text] = field(default_factory=dict)
    given: frozenset[str] = frozenset()  # the parts that the author wrote
    data: tuple[str, ...] = ()
    ttl_seconds: int | None = None


def compile_parts(
    channel: str, locale: str, given: Mapping[str, Any], *, optional: frozenset[str], pointer: str
) -> Parts:
    """Compile all sources of a template. Raises Invalid with every problem found."""
    if channel not in REQUIRED:
        raise Invalid(f"{channel!r} is not a channel; use push, email, sms or webhook.", pointer=pointer)
    problems = list(_shape_problems(channel, given, pointer))
    made = Parts(channel, pointer, ttl_seconds=given.get("ttl_seconds") if channel == "push" else None)
    sources = {name: source for name, source in _sources(channel, given).items() if isinstance(source, str)}
    for name, source in sources.items():
        if name == "text" and channel == "email" and not given.get("text") and problems:
            continue  # derived from an HTML that is wrong: it would repeat the same problems
        kind = {"html": "html", "json": "json"}.get(name, "text") if "/" not in name else "text"
        wanted = Wanted(
            environment=_environment(kind, locale, optional),
            pointer=f"{pointer}/{name}",
            max_source=MAX_SOURCE if (channel, name) in _LONG else MAX_SHORT_SOURCE,
            max_output=_LONG.get((channel, name), MAX_SHORT_SOURCE),
        )
        try:
            made.texts[name] = Text(plain(source), wanted)
        except Invalid as error:
            problems.extend(error.errors)
    if problems:
        raise Invalid.many(_once(problems))
    made.given = frozenset(name for name in made.texts if "/" in name or given.get(name))
    made.data = tuple(name.removeprefix("data/") for name in made.texts if name.startswith("data/"))
    return made


def _once(problems: list[FieldError]) -> list[FieldError]:
    return list(dict.fromkeys(problems))


@lru_cache(maxsize=512)
def _environment(kind: str, locale: str, optional: frozenset[str]) -> ChannelEnvironment:
    return ChannelEnvironment(kind, locale, optional)


def _sources(channel: str, given: Mapping[str, Any]) -> dict[str, Any]:
    names = [*REQUIRED[channel], *(name for name in OPTIONAL[channel] if name not in {"data", "ttl_seconds"})]
    sources = {name: given[name] for name in names if given.get(name) is not None}
    if channel == "push" and isinstance(given.get("data"), Mapping):
        sources |= {f"data/{name}": source for name, source in given["data"].items()}
    if channel == "email" and isinstance(sources.get("html"), str):
        html = sources["html"]
        if not sources.get("text"):
            sources["text"] = text_source(html)
        if isinstance(sources.get("preheader"), str):
            sources["html"] = _with_preheader(html, sources["preheader"])
    return sources


def _with_preheader(html: str, preheader: str) -> str:
    """Insert the text that mail programs show beside the subject, invisibly, followed by blanks."""
    hidden = (
        '<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">'
        f"{preheader}{'&#8199;&#65279;&#847; ' * 20}</div>"
    )
    made = cut(html)
    at = _in_body(made.source)
    return made.restored(made.source[:at]) + hidden + made.restored(made.source[at:])


def _in_body(html: str) -> int:
    """Return where the body begins, 0 if there is none. A comment's is Outlook's own: `<!--[if mso]><body>`."""
    at = 0
    while found := _BODY.search(html, at):
        if found.group() != "<!--":
            return found.end()
        end = html.find("-->", found.end())
        if end < 0:
            break
        at = end + 3
    return 0


def _shape_problems(channel: str, given: Mapping[str, Any], pointer: str) -> list[FieldError]:
    problems: list[FieldError] = []
    known = {*REQUIRED[channel], *OPTIONAL[channel]}
    for name in given:
        if name not in known:
            problems.append(
                FieldError(f"{pointer}/{name}", f"{channel} has no part {name!r}; it has {', '.join(sorted(known))}.")
            )
    for name in REQUIRED[channel]:
        source = given.get(name)
        if source is None or (isinstance(source, str) and not source.strip()):
            problems.append(FieldError(f"{pointer}/{name}", f"A {channel} template needs the part {name!r}."))
    for name in known - {"data", "ttl_seconds"}:
        if given.get(name) is not None and not isinstance(given[name], str):
            problems.append(FieldError(f"{pointer}/{name}", "Write this part as a text."))
    if channel == "push":
        problems.extend(_push_problems(given, pointer))
    return problems


def _push_problems(given: Mapping[str, Any], pointer: str) -> list[FieldError]:
    problems: list[FieldError] = []
    ttl = given.get("ttl_seconds")
    if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 <= ttl <= MAX_TTL):
        problems.append(FieldError(f"{pointer}/ttl_seconds", f"Give whole seconds from 0 to {MAX_TTL}."))
    data = given.get("data")
    if data is None:
        return problems
    if not isinstance(data, Mapping):
        return [*problems, FieldError(f"{pointer}/data", "Write data as an object of strings.")]
    for name, source in data.items():
        where = f"{pointer}/data/{name}"
        if not _DATA_NAME.match(name) or _RESERVED_DATA.match(name):
            problems.append(FieldError(where, f"{name[:40]!r} cannot be a name in a push's data; FCM reserves it."))
        if not isinstance(source, str):
            problems.append(FieldError(where, "Values in a push's data must be strings; put the value in quotes."))
    return problems
