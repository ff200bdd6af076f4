"""Events of `tokens`: recipients, devices, consent."""

from datetime import datetime
from typing import ClassVar

from libs.contracts.envelope import Event, declared


@declared
class RecipientChanged(Event, frozen=True, kw_only=True):
    """Something about a recipient changed; `fields` names what, never the values. `note` is for people (consent
    proof)."""

    TYPE: ClassVar[str] = "recipient.changed"
    SOURCE: ClassVar[str] = "tokens"
    MAY_WAIT: ClassVar[bool] = True
    recipient: str  # customer:<id> or installation:<id>
    fields: tuple[str, ...]
    version: int
    at: datetime
    note: str | None = None


@declared
class RecipientErased(Event, frozen=True, kw_only=True):
    """Every service wipes the data it holds about this recipient."""

    TYPE: ClassVar[str] = "recipient.erased"
    SOURCE: ClassVar[str] = "tokens"
    recipient: str
    at: datetime


@declared
class DeviceRetired(Event, frozen=True, kw_only=True):
    """An address is no longer in use, according to the provider or the app."""

    TYPE: ClassVar[str] = "device.retired"
    SOURCE: ClassVar[str] = "tokens"
    recipient: str
    address_id: int
    why: str
    at: datetime
