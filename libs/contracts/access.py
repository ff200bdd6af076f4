"""Events of `access`: tenants and topics."""

from typing import ClassVar

from libs.contracts.envelope import Event, declared


@declared
class TenantChanged(Event, frozen=True, kw_only=True):
    """A tenant was created or edited; `version` increases with each edit."""

    TYPE: ClassVar[str] = "tenant.changed"
    SOURCE: ClassVar[str] = "access"
    number: int
    name: str
    default_locale: str
    version: int


@declared
class TopicChanged(Event, frozen=True, kw_only=True):
    """A topic that customers subscribe to was created or edited."""

    TYPE: ClassVar[str] = "topic.changed"
    SOURCE: ClassVar[str] = "access"
    name: str
    category: str  # transactional | marketing
    active: bool
    version: int
