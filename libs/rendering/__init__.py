"""One library for preview, publish and send: Liquid in, content of a channel out.

release = compile_release(bundle)                      # delivery: once per release
rendered = release.render("shipped", "de-AT", {"event": …, "recipient": …, "links": …})
rendered.content, rendered.digest, rendered.locale

template = compile_template("push", "de", parts)       # templates: publish and preview
checked = check_uses(all_uses(template.texts.values()), schema)
"""

from libs.rendering.contents import Content, EmailContent, PushContent, SmsContent, WebhookContent
from libs.rendering.digest import content_digest
from libs.rendering.limits import ContentTooLarge, LimitExceeded, RenderFailed
from libs.rendering.preview import Preview, preview, trial
from libs.rendering.release import CompiledRelease, Rendered, compile_release
from libs.rendering.schema import check_uses
from libs.rendering.template import CompiledTemplate, compile_template
from libs.rendering.text import all_uses

__all__ = [
    "CompiledRelease",
    "CompiledTemplate",
    "Content",
    "ContentTooLarge",
    "EmailContent",
    "LimitExceeded",
    "Preview",
    "PushContent",
    "RenderFailed",
    "Rendered",
    "SmsContent",
    "WebhookContent",
    "all_uses",
    "check_uses",
    "compile_release",
    "compile_template",
    "content_digest",
    "preview",
    "trial",
]
