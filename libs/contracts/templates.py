"""Events of `templates`."""

from typing import ClassVar

from libs.contracts.envelope import Event, declared


@declared
class TemplatePublished(Event, frozen=True, kw_only=True):
    """A template version was published; communications use it once they are published again."""

    TYPE: ClassVar[str] = "template.published"
    SOURCE: ClassVar[str] = "templates"
    name: str
    version: int
    channel: str
    locales: tuple[str, ...]
