"""One template in one locale, compiled: its parts become the content of its channel, checked and sized."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from libs import exact_json
from libs.errors import BadRequest, Invalid
from libs.rendering import sms
from libs.rendering.contents import NOTHING, Content, EmailContent, PushContent, SmsContent, WebhookContent
from libs.rendering.html_text import settled, tidy
from libs.rendering.limits import MAX_HEADER, MAX_PUSH_BYTES, MAX_SMS_SEGMENTS, ContentTooLarge, RenderFailed
from libs.rendering.links import problem_of_link
from libs.rendering.parts import Parts, compile_parts
from libs.rendering.text import Text, Variables
from libs.rendering.values import one_line, plain

PUSH_RESERVE = 160  # bytes that delivery adds to a push: tag, message id, field names


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """A channel's template in one locale. `render` returns the content for variables (event, recipient, links); it
    raises RenderFailed with the pointer of the part."""

    channel: str
    locale: str
    parts: Parts
    texts: Mapping[str, Text]  # by pointer below the locale: title, data/order
    render: Callable[[Variables], Content]


def compile_template(
    channel: str, locale: str, parts: Mapping[str, Any], *, optional: frozenset[str] = frozenset(), pointer: str = ""
) -> CompiledTemplate:
    """Compile the parts of a template. Raises Invalid with every problem, pointers below `pointer`."""
    compiled = compile_parts(channel, locale, parts, optional=optional, pointer=pointer)
    maker = _MAKERS[channel](compiled)
    _refuse_unsendable(compiled)
    return CompiledTemplate(channel, locale, compiled, compiled.texts, maker)


def _refuse_unsendable(parts: Parts) -> None:
    least = sum(text.least_bytes for name, text in parts.texts.items())
    if parts.channel == "push" and least + PUSH_RESERVE > MAX_PUSH_BYTES:
        longest = max(parts.texts, key=lambda name: parts.texts[name].least_bytes)
        raise Invalid(
            f"The push has at least {least + PUSH_RESERVE:,} bytes; phones accept {MAX_PUSH_BYTES:,}. Shorten it.",
            pointer=f"{parts.pointer}/{longest}",
        )
    if parts.channel == "sms" and (fixed := parts.texts["text"].constant) is not None:
        _sms(sms.spaced(plain(fixed)), f"{parts.pointer}/text")
    if parts.channel == "webhook" and (fixed := parts.texts["json"].constant) is not None:
        _webhook(fixed, f"{parts.pointer}/json")


def _push_maker(parts: Parts) -> Callable[[Variables], Content]:
    title, body = parts.texts["title"], parts.texts["body"]
    image, link, key = parts.texts.get("image"), parts.texts.get("link"), parts.texts.get("collapse_key")
    data = {name: parts.texts[f"data/{name}"] for name in parts.data}
    fixed = _fixed_data(data)
    simple = image is None and link is None and key is None and not data

    def make(variables: Variables) -> Content:
        headline, words = one_line(title.render(variables)), plain(body.render(variables)).strip()
        if not headline and not words:
            raise RenderFailed(
                "Title and body are both empty; there is nothing to show.", pointer=f"{parts.pointer}/body"
            )
        if simple:
            content = PushContent(headline, words, ttl_seconds=parts.ttl_seconds)
        else:
            content = PushContent(
                title=headline,
                body=words,
                image=_link(image, variables, f"{parts.pointer}/image", web_only=True),
                link=_link(link, variables, f"{parts.pointer}/link"),
                data=_data(data, variables) if fixed is None else fixed,
                collapse_key=one_line(key.render(variables))[:64] or None if key else None,
                ttl_seconds=parts.ttl_seconds,
            )
        _refuse_large_push(content, parts.pointer)
        return content

    return make


def _fixed_data(data: Mapping[str, Text]) -> Mapping[str, str] | None:
    constants = {name: text.constant for name, text in data.items()}
    if not constants:
        return NOTHING
    fixed = {name: plain(text) for name, text in constants.items() if text is not None}
    return MappingProxyType(fixed) if len(fixed) == len(constants) else None


def _data(data: Mapping[str, Text], variables: Variables) -> Mapping[str, str]:
    return MappingProxyType({name: plain(text.render(variables)) for name, text in data.items()})


def _link(text: Text | None, variables: Variables, pointer: str, *, web_only: bool = False) -> str | None:
    if text is None:
        return None
    link = one_line(text.render(variables)).replace(" ", "%20")
    if not link:
        return None
    problem = problem_of_link(link, web_only=web_only)
    if problem:
        raise RenderFailed(f"{problem[:1].upper()}{problem[1:]}.", pointer=pointer)
    return link


def push_bytes(content: PushContent) -> int:
    """Return the bytes that FCM and APNs count, including what delivery adds."""
    texts = [content.title, content.body, content.image or "", content.link or "", content.collapse_key or ""]
    for name, value in content.data.items():
        texts += (name, value)
    # quotes, colons and commas around each; characters that JSON escapes count as escaped
    return sum(len(exact_json.dumps(text)) + 2 for text in texts if text) + PUSH_RESERVE


def _refuse_large_push(content: PushContent, pointer: str) -> None:
    plain_push = not content.data and not content.link and not content.image
    if plain_push and (len(content.title) + len(content.body)) * 6 + PUSH_RESERVE < MAX_PUSH_BYTES:
        return  # cannot be too large, whatever the characters
    size = push_bytes(content)
    if size > MAX_PUSH_BYTES:
        raise ContentTooLarge(
            f"The push has {size:,} bytes; phones accept {MAX_PUSH_BYTES:,}. Shorten the body or the data.",
            pointer=f"{pointer}/body",
        )


def _email_maker(parts: Parts) -> Callable[[Variables], Content]:
    subject, html, text = parts.texts["subject"], parts.texts["html"], parts.texts["text"]
    preheader, name, reply = (parts.texts.get(each) for each in ("preheader", "from_name", "reply_to"))
    tidied = tidy if "text" in parts.given else settled
    literals = "\0".join(text.literals)
    even = tidied(literals) == literals  # then only values can leave gaps in the text

    def make(variables: Variables) -> Content:
        headline = one_line(subject.render(variables))
        if not headline or len(headline) > MAX_HEADER:
            raise RenderFailed("The subject must have 1 to 998 characters.", pointer=f"{parts.pointer}/subject")
        page, words = html.weave(variables), text.weave(variables)
        if not even or isinstance(words, str) or "" in (given := words.values) or "\n" in "".join(given):
            written = str(words)
            if (shown := tidied(written)) != written:  # its literals and values are plain already
                words = shown
        return EmailContent(
            headline,
            page,
            words,
            one_line(preheader.render(variables)) if preheader else None,
            one_line(name.render(variables))[:200] or None if name else None,
            _reply_to(reply, variables, f"{parts.pointer}/reply_to"),
        )

    return make


def _reply_to(text: Text | None, variables: Variables, pointer: str) -> str | None:
    if text is None:
        return None
    address = one_line(text.render(variables))
    if not address:
        return None
    local, at, domain = address.rpartition("@")
    if not at or not local or "." not in domain or any(sign in address for sign in ' <>,;:\\"()[]'):
        raise RenderFailed("reply_to must be one plain address, like service@shop.example.", pointer=pointer)
    return address


def _sms_maker(parts: Parts) -> Callable[[Variables], Content]:
    text = parts.texts["text"]

    def make(variables: Variables) -> Content:
        return _sms(sms.spaced(plain(text.render(variables))).strip(), f"{parts.pointer}/text")

    return make


def _sms(words: str, pointer: str) -> SmsContent:
    if not words.strip():
        raise RenderFailed("The SMS is empty.", pointer=pointer)
    counted = sms.count(words)
    if counted.segments > MAX_SMS_SEGMENTS:
        raise ContentTooLarge(
            f"The SMS takes {counted.segments} segments ({counted.encoding}); {MAX_SMS_SEGMENTS} are allowed.",
            pointer=pointer,
        )
    return SmsContent(words, counted.segments, counted.encoding)


def _webhook_maker(parts: Parts) -> Callable[[Variables], Content]:
    text = parts.texts["json"]

    def make(variables: Variables) -> Content:
        return _webhook(text.render(variables), f"{parts.pointer}/json")

    return make


def _webhook(text: str, pointer: str) -> WebhookContent:
    body = text.strip()
    try:
        exact_json.loads(body)
    except BadRequest as error:
        raise RenderFailed(
            f"The template does not produce JSON for this input: {error.detail} Insert values with | json.",
            pointer=pointer,
        ) from error
    return WebhookContent(body.encode())


_MAKERS: Mapping[str, Callable[[Parts], Callable[[Variables], Content]]] = {
    "push": _push_maker,
    "email": _email_maker,
    "sms": _sms_maker,
    "webhook": _webhook_maker,
}

__all__ = ["CompiledTemplate", "compile_template", "push_bytes"]
