"""One library for preview, publish and send: Liquid in, a channel's content out.

release = compile_release(bundle)                      # delivery: once per release
rendered = release.render("shipped", "de-AT", {"event": …, "recipient": …, "links": …})
rendered.content, rendered.digest, rendered.locale

template = compile_template("push", "de", parts)       # templates: publish and preview
checked = check_uses(all_uses(template.texts.values()), schema)
"""

from libs.rendering.checks import check_template, optional_variables, unknown_variables
from libs.rendering.contents import Content, EmailContent, PushContent, SmsContent, WebhookContent
from libs.rendering.digest import content_digest
from libs.rendering.limits import ContentTooLarge, LimitExceeded, RenderFailed
from libs.rendering.preview import Preview, missing, preview
from libs.rendering.release import CompiledRelease, ReleaseTexts, Rendered, compile_release
from libs.rendering.template import CompiledTemplate, compile_template

__all__ = [
    "CompiledRelease",
    "CompiledTemplate",
    "Content",
    "ContentTooLarge",
    "EmailContent",
    "LimitExceeded",
    "Preview",
    "PushContent",
    "ReleaseTexts",
    "RenderFailed",
    "Rendered",
    "SmsContent",
    "WebhookContent",
    "check_template",
    "compile_release",
    "compile_template",
    "content_digest",
    "missing",
    "optional_variables",
    "preview",
    "unknown_variables",
]
