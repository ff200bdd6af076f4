"""The digest of a rendered content: equal content, equal digest, in any process and any version of Python."""

import hashlib

from libs.rendering.contents import Content, EmailContent, PushContent, SmsContent, WebhookContent

# neither can occur in a content: control characters are removed
_NEXT, _NONE = "\x1f", "\x1e"


def content_digest(content: Content) -> bytes:
    """Return the SHA-256 (32 bytes) of what the recipient gets, without what only a preview shows."""
    return hashlib.sha256(_canonical(content)).digest()


def _canonical(content: Content) -> bytes:
    match content:
        case PushContent():
            fields = ["push", content.title, content.body, content.image, content.link, content.collapse_key]
            fields.append(None if content.ttl_seconds is None else str(content.ttl_seconds))
            for name in sorted(content.data):
                fields += (name, content.data[name])
        case EmailContent():
            fields = ["email", content.subject, content.html, content.text, content.from_name, content.reply_to]
        case SmsContent():
            fields = ["sms", content.text]
        case WebhookContent():
            return b"webhook\x1f" + content.body
    return _NEXT.join([_NONE if field is None else field for field in fields]).encode()
