"""A release, compiled once and rendered for millions: the bundle's templates by name and locale, with a memo.

The memo is keyed by the values that a template really reads: a campaign that says only "Hello Anna" renders once
per first name. It gives itself up where values hardly repeat.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from libs.errors import FieldError, Invalid
from libs.rendering.analysis import ANY
from libs.rendering.contents import Content
from libs.rendering.digest import content_digest
from libs.rendering.limits import RenderFailed
from libs.rendering.locales import chosen
from libs.rendering.template import CompiledTemplate, compile_template

_MEMO_ENTRIES = {"push": 4_096, "sms": 4_096, "email": 256, "webhook": 256}
_TRIAL = 512  # renders after which a memo that was hit in fewer than one of 16 is given up
_MAX_LOCALES = 2_048  # remembered answers to "which locale for de-CH?"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A content, its digest, and the locale that it is in. Shared between messages that read the same."""

    content: Content
    digest: bytes
    locale: str


class _Memo:
    """Renders of one template in one locale, by the values of its variables; least recently used go first."""

    __slots__ = ("_entries", "_getters", "_hits", "_limit", "_misses", "template")

    def __init__(self, template: CompiledTemplate) -> None:
        self.template = template
        self._getters = [_getter(path) for path in _read_by(template)]
        self._entries: dict[tuple[Any, ...], Rendered] | None = {}
        self._limit = _MEMO_ENTRIES[template.channel]
        self._hits = self._misses = 0

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        entries = self._entries
        if entries is None:
            return self._made(variables)
        key = tuple([get(variables) for get in self._getters])
        if _Unhashable in key:
            return self._made(variables)
        found = entries.pop(key, None)
        if found is None:
            found = self._made(variables)
            self._missed(entries)
        else:
            self._hits += 1
        entries[key] = found
        return found

    def _made(self, variables: Mapping[str, Any]) -> Rendered:
        content = self.template.render(variables)
        return Rendered(content, content_digest(content), self.template.locale)

    def _missed(self, entries: dict[tuple[Any, ...], Rendered]) -> None:
        self._misses += 1
        if len(entries) >= self._limit:
            del entries[next(iter(entries))]
        if self._misses >= _TRIAL and self._hits * 16 < self._misses:
            self._entries = None


class _Unhashable:
    """Stands for a list or object: comparing it would cost more than rendering."""


_MISSING = object()


def _getter(path: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    def get(variables: Mapping[str, Any]) -> Any:
        at: Any = variables
        try:
            for name in path:
                at = at[name]
        except (KeyError, TypeError, IndexError):
            return _MISSING
        if type(at) is str or at is None:
            return at
        if isinstance(at, Mapping | list | tuple):
            return _Unhashable
        return (type(at), str(at))  # 19.9 and 19.90, 1 and true are equal in Python, but read differently

    return get


def _read_by(template: CompiledTemplate) -> list[tuple[str, ...]]:
    paths: set[tuple[str, ...]] = set()
    for text in template.texts.values():
        for path in text.paths:
            paths.add(path[: path.index(ANY)] if ANY in path else path)
    return sorted(paths)


class ReleaseTexts:
    """One template of a release, in all its locales."""

    __slots__ = ("_name", "_release", "needs_links")

    def __init__(self, release: "CompiledRelease", name: str) -> None:
        self._release = release
        self._name = name
        texts = [text for each in release.templates[name].values() for text in each.texts.values()]
        self.needs_links = any(path[0] == "links" for text in texts for path in text.paths)

    def render(self, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        """The content for one recipient. Raises RenderFailed."""
        return self._release.render(self._name, locale, variables)


class CompiledRelease:
    """What delivery renders from. Made by `compile_release`; safe to share, it never changes."""

    def __init__(self, bundle: Mapping[str, Any], templates: Mapping[str, Mapping[str, CompiledTemplate]]) -> None:
        self.bundle = bundle
        self.id = str(bundle.get("id", ""))
        self.default_locale = str(bundle.get("default_locale", "en"))
        self.templates = templates
        self._memos = {
            name: {locale: _Memo(template) for locale, template in locales.items()}
            for name, locales in templates.items()
        }
        self._chosen: dict[tuple[str, str | None], _Memo] = {}

    def texts(self, template: str) -> ReleaseTexts:
        """One template, for a plan's step that uses it."""
        return ReleaseTexts(self, template)

    def locale_for(self, template: str, locale: str | None) -> str:
        """The locale that a recipient with this locale gets."""
        return self._memo(template, locale).template.locale

    def render(self, template: str, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        """The content for one recipient. `variables`: event, recipient, links. Raises RenderFailed."""
        memo = self._chosen.get((template, locale))
        return (memo or self._memo(template, locale)).render(variables)

    def _memo(self, template: str, locale: str | None) -> _Memo:
        known = self._chosen.get((template, locale))
        if known is not None:
            return known
        locales = self._memos.get(template)
        if locales is None:
            raise RenderFailed(f"The release has no template {template!r}; publish the communication again.")
        found = chosen(locale, self.default_locale, locales)
        memo = locales[found] if found else next(iter(locales.values()))
        if len(self._chosen) < _MAX_LOCALES:
            self._chosen[(template, locale)] = memo
        return memo


def compile_release(bundle: Mapping[str, Any]) -> CompiledRelease:
    """Compiles a bundle as `GET releases/{id}` gives it. Raises Invalid with every problem."""
    problems: list[FieldError] = []
    compiled: dict[str, dict[str, CompiledTemplate]] = {}
    for name, template in bundle["templates"].items():
        optional = frozenset(template.get("optional", ()))
        compiled[name] = {}
        for locale, parts in template["locales"].items():
            pointer = f"/templates/{name}/{locale}"
            try:
                compiled[name][locale] = compile_template(
                    template["channel"], locale, parts, optional=optional, pointer=pointer
                )
            except Invalid as error:
                problems.extend(error.errors or (FieldError(pointer, error.detail),))
        if not template["locales"]:
            problems.append(FieldError(f"/templates/{name}", "The template has no locale."))
    if problems:
        raise Invalid.many(problems)
    return CompiledRelease(bundle, compiled)
