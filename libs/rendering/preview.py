"""A preview: what a recipient would get, with the sizes that matter on the channel and warnings."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from libs.errors import FieldError
from libs.rendering import sms
from libs.rendering.contents import Content, EmailContent, PushContent, SmsContent, WebhookContent, parts_of
from libs.rendering.digest import content_digest
from libs.rendering.environment import NOTED, NOTES
from libs.rendering.limits import MAX_PUSH_BYTES, LimitExceeded, RenderFailed
from libs.rendering.template import CompiledTemplate, compile_template, push_bytes

_TITLE_SHOWN, _BODY_SHOWN = 50, 178  # characters that most phones show of a push
_CLIPPED = 102_400  # Gmail cuts a mail's HTML here


@dataclass(frozen=True, slots=True)
class Preview:
    """The rendered parts, sizes and warnings of one template in one locale."""

    locale: str
    parts: Mapping[str, Any]
    sizes: Mapping[str, Any]
    warnings: tuple[str, ...]
    digest: str


def preview(template: CompiledTemplate, variables: Mapping[str, Any]) -> Preview:
    """Render as delivery would. Raises RenderFailed as delivery would."""
    content = template.render(variables)
    sizes, warnings = _judged(content)
    return Preview(template.locale, parts_of(content), sizes, tuple(warnings), content_digest(content).hex())


def missing(
    channel: str, locale: str, parts: Mapping[str, Any], variables: Mapping[str, Any], *, optional: frozenset[str]
) -> list[FieldError]:
    """Return every variable that a render of these parts lacks, where the render itself stops at the first."""
    pointer = f"/locales/{locale}"
    template = compile_template(channel, locale, parts, optional=optional | {NOTED}, pointer=pointer)
    found: list[FieldError] = []
    for name in sorted(template.parts.given):
        NOTES.missed.clear()
        with suppress(RenderFailed):
            template.texts[name].render(variables)
        found += [FieldError(f"{pointer}/{name}", f"Line {line}: {path} is missing.") for path, line in NOTES.missed]
    return list(dict.fromkeys(found))


def trial(template: CompiledTemplate, variables: Mapping[str, Any]) -> list[FieldError]:
    """Return what fails whatever the variables: limits that a render with sample values already exceeds."""
    try:
        template.render(variables)
    except LimitExceeded as error:
        return list(error.errors)
    except RenderFailed:
        pass  # an unsuitable sample value says nothing about real ones
    return []


def _judged(content: Content) -> tuple[Mapping[str, Any], list[str]]:
    sizes: dict[str, Any]
    match content:
        case PushContent():
            return {"bytes": push_bytes(content), "limit_bytes": MAX_PUSH_BYTES}, _push_warnings(content)
        case EmailContent():
            size = len(content.html.encode())
            clipped = [f"Gmail shows the first {_CLIPPED:,} bytes; the HTML has {size:,}."] if size > _CLIPPED else []
            sizes = {"html_bytes": size, "text_bytes": len(content.text.encode()), "subject": len(content.subject)}
            return sizes, clipped
        case SmsContent():
            counted = sms.count(content.text)
            sizes = {"segments": counted.segments, "encoding": counted.encoding, "units": counted.units}
            return sizes, _sms_warnings(content, counted)
        case WebhookContent():
            return {"bytes": len(content.body)}, []


def _push_warnings(content: PushContent) -> list[str]:
    warnings = []
    if len(content.title) > _TITLE_SHOWN:
        warnings.append(f"Most phones show about {_TITLE_SHOWN} characters of the title; it has {len(content.title)}.")
    if len(content.body) > _BODY_SHOWN:
        warnings.append(f"Most phones show about {_BODY_SHOWN} characters of the body; it has {len(content.body)}.")
    return warnings


def _sms_warnings(content: SmsContent, counted: sms.Count) -> list[str]:
    if counted.encoding == sms.GSM_7:
        return []
    foreign = "".join(sms.not_gsm(content.text)[:10])
    return [f"These characters make it UCS-2, with 70 instead of 160 characters a segment: {foreign}"]
