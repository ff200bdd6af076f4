"""A release, compiled once and rendered for millions: the bundle's templates by name and locale, with a memo.

The memo is keyed by the values that a template reads: a campaign that says only "Hello Anna" renders once per first
name. It disables itself if values hardly repeat.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from libs.errors import Invalid
from libs.rendering.analysis import ANY
from libs.rendering.contents import Content
from libs.rendering.digest import content_digest
from libs.rendering.limits import RenderFailed
from libs.rendering.locales import chosen
from libs.rendering.template import CompiledTemplate, compile_template
from libs.rendering.text import LIQUIDS_OWN

_MEMO_ENTRIES = {"push": 4_096, "sms": 4_096, "email": 256, "webhook": 256}
_TRIAL = 512  # renders after which a memo with a hit rate below 1 in 16 is dropped
_MAX_LOCALES = 2_048  # cached answers to "which locale for de-CH?"


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """A content, its digest and its locale. Shared between messages with the same text."""

    content: Content
    digest: bytes
    locale: str


class _Memo:
    """Renders of one template in one locale, by the values of its variables; evicts the least recently used."""

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
        except KeyError:
            if name not in LIQUIDS_OWN:
                return _MISSING
        except (TypeError, IndexError):
            pass  # the value itself: Liquid derives its size, or its first or last item
        if type(at) is str or at is None:
            return at
        if isinstance(at, Mapping | list | tuple):
            return _Unhashable
        return (type(at), str(at))  # 19.9 and 19.90, 1 and true are equal in Python, but print differently

    return get


def _read_by(template: CompiledTemplate) -> list[tuple[str, ...]]:
    paths: set[tuple[str, ...]] = set()
    for text in template.texts.values():
        for path in text.paths:
            paths.add(path[: path.index(ANY)] if ANY in path else path)
    return sorted(paths)


class _Broken:
    """A text of an older release that this version can no longer compile: each message gets the reason."""

    __slots__ = ("_problem",)

    def __init__(self, problem: Invalid) -> None:
        self._problem = problem

    def render(self, variables: Mapping[str, Any]) -> Rendered:
        failed = RenderFailed(self._problem.detail)
        failed.errors = self._problem.errors
        raise failed


class ReleaseTexts:
    """One template of a release, in all its locales."""

    __slots__ = ("_name", "_release", "needs_links")

    def __init__(self, release: "CompiledRelease", name: str) -> None:
        self._release = release
        self._name = name
        # from the sources: compiling all locales to find out would take longer than making a link in vain
        self.needs_links = any("links" in source for source in _sources(release.bundle["templates"][name]))

    def render(self, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        """Return the content for one recipient. Raises RenderFailed."""
        return self._release.chosen(self._name, locale).render(variables)


def _sources(template: Mapping[str, Any]) -> list[str]:
    parts = [part for locale in template["locales"].values() for part in locale.values()]
    nested = [value for part in parts if isinstance(part, Mapping) for value in part.values()]
    return [source for source in (*parts, *nested) if isinstance(source, str)]


class CompiledRelease:
    """What delivery renders from. Created by `compile_release`; each text is compiled on first use."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        self.bundle = bundle
        self.id = str(bundle.get("id", ""))
        self.default_locale = str(bundle.get("default_locale", "en"))
        self._memos: dict[tuple[str, str], _Memo | _Broken] = {}
        self._chosen: dict[tuple[str, str | None], _Memo | _Broken] = {}

    def texts(self, template: str) -> ReleaseTexts:
        """Return one template, for the plan step that uses it."""
        return ReleaseTexts(self, template)

    def locale_for(self, template: str, locale: str | None) -> str:
        """Return the locale for a recipient with this locale. Raises RenderFailed for an unknown template."""
        template_ = self.bundle["templates"].get(template)
        if not template_ or not template_["locales"]:
            raise RenderFailed(f"The release has no template {template!r}; publish the communication again.")
        locales = template_["locales"]
        return chosen(locale, self.default_locale, locales) or next(iter(locales))

    def render(self, template: str, locale: str | None, variables: Mapping[str, Any]) -> Rendered:
        """Return the content for one recipient. `variables`: event, recipient, links. Raises RenderFailed."""
        return self.chosen(template, locale).render(variables)

    def chosen(self, template: str, locale: str | None) -> "_Memo | _Broken":
        """Return the renderer of a template for recipients with this locale."""
        return self._chosen.get((template, locale)) or self._choose(template, locale)

    def _choose(self, template: str, locale: str | None) -> "_Memo | _Broken":
        found = self.locale_for(template, locale)
        memo = self._memos.get((template, found))
        if memo is None:
            memo = self._memos[(template, found)] = self._compiled(template, found)
        if len(self._chosen) < _MAX_LOCALES:
            self._chosen[(template, locale)] = memo
        return memo

    def _compiled(self, name: str, locale: str) -> "_Memo | _Broken":
        template = self.bundle["templates"][name]
        optional = frozenset(template.get("optional", ()))
        pointer = f"/templates/{name}/locales/{locale}"
        try:
            return _Memo(
                compile_template(
                    template["channel"], locale, template["locales"][locale], optional=optional, pointer=pointer
                )
            )
        except Invalid as error:
            return _Broken(error)


def compile_release(bundle: Mapping[str, Any]) -> CompiledRelease:
    """Prepare a bundle, as `GET releases/{id}` returns it, for rendering. Raises Invalid if it has no templates."""
    templates = bundle.get("templates")
    if not isinstance(templates, Mapping) or not all(
        isinstance(template, Mapping) and template.get("channel") and template.get("locales")
        for template in templates.values()
    ):
        raise Invalid("The bundle has no templates with a channel and locales.", pointer="/templates")
    return CompiledRelease(bundle)
