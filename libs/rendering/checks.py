"""The checks of publishing: does every locale compile, are its variables known, and can it render at all."""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.contracts.outcomes import Channel
from libs.errors import FieldError, Invalid
from libs.rendering.precheck import foreign_texts
from libs.rendering.preview import trial
from libs.rendering.sample import sample_event, sample_recipient
from libs.rendering.schema import Checked, Schema, check_uses
from libs.rendering.template import CompiledTemplate, compile_template

Locales = Mapping[str, Mapping[str, Any]]

EVERYTHING = frozenset({"*"})  # all variables may be missing: a trial must not stop at the first


def check_template(channel: Channel | str, locales: Locales) -> list[FieldError]:
    """Return everything that is wrong with a template whatever the event: pointers like `/locales/de/title`."""
    problems = list(_foreign_texts(locales))
    for template in _compiled(channel, locales, problems):
        problems += _doubtful(template)
        problems += _unknown(template, None)
        problems += trial(template, {"event": sample_event("sample", None), **_others(template.locale)})
    return problems


def unknown_variables(channel: Channel | str, locales: Locales, schema: Schema | None) -> list[FieldError]:
    """Return variables that the event type's schema does not have, and what already fails with a sample event."""
    problems: list[FieldError] = []
    for template in _compiled(channel, locales, problems):
        found = _unknown(template, schema)
        problems += found
        if not found and schema is not None:
            problems += trial(template, {"event": sample_event("sample", schema), **_others(template.locale)})
    return problems


def optional_variables(channel: Channel | str, locales: Locales, schema: Schema | None) -> list[str]:
    """Return the variables, as written, that an event may lack by its schema; they render as nothing instead of
    failing."""
    made: set[str] = set()
    for template in _compiled(channel, locales, []):
        for checked in _checked(template, schema).values():
            made |= checked.optional
    return sorted(made)


def _foreign_texts(locales: Locales) -> Iterator[FieldError]:
    for locale, parts in locales.items():
        for name, source in parts.items():
            if isinstance(source, str):
                yield from (FieldError(f"{_pointer(locale)}/{name}", said) for said in foreign_texts(source))


def _pointer(locale: str) -> str:
    return "/locales/" + locale.replace("~", "~0").replace("/", "~1")


def _compiled(channel: Channel | str, locales: Locales, problems: list[FieldError]) -> Iterator[CompiledTemplate]:
    word = channel.word if isinstance(channel, Channel) else channel
    for locale, parts in locales.items():
        pointer = _pointer(locale)
        try:
            yield compile_template(word, locale, parts, optional=EVERYTHING, pointer=pointer)
        except Invalid as error:
            problems.extend(error.errors or (FieldError(pointer, error.detail),))


def _checked(template: CompiledTemplate, schema: Schema | None) -> dict[str, Checked]:
    return {name: check_uses(text.uses, schema) for name, text in template.texts.items()}


def _doubtful(template: CompiledTemplate) -> list[FieldError]:
    texts, given = template.texts.items(), template.parts.given
    return [
        FieldError(f"{template.parts.pointer}/{name}", said)
        for name, text in texts
        if name in given
        for said in text.doubts
    ]


def _unknown(template: CompiledTemplate, schema: Schema | None) -> list[FieldError]:
    pointer = template.parts.pointer
    found = [
        FieldError(f"{pointer}/{name}", sentence)
        for name, checked in _checked(template, schema).items()
        if name in template.parts.given  # a derived text part adds nothing to its source
        for _, sentence in checked.problems
    ]
    return list(dict.fromkeys(found))


def _others(locale: str) -> dict[str, Any]:
    return {"recipient": sample_recipient(locale), "links": {"unsubscribe": "https://shop.example/unsubscribe"}}
