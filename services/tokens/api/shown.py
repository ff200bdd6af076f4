"""tokens' HTTP responses, with an example each. Values are masked without the scope pii:read."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.tokens.api.shapes import CONSENT, example

_AT = "2027-03-01T09:00:00Z"
ADDRESS = {"id": 17, "kind": "email", "value": "j•••@example.com", "created_at": _AT}
DEVICE_SHOWN = {
    "id": 18,
    "kind": "fcm_token",
    "value": "fHk3-9•••",
    "created_at": _AT,
    "installation": "fHk3-92b",
    "platform": "android",
    "app_version": "8.2.1",
    "locale": "de",
    "seen_at": _AT,
}
RECIPIENT = {
    "key": "customer:4711",
    "first_name": "J•••",
    "last_name": "M•••",
    "locale": "de-AT",
    "zone": "Europe/Vienna",
    "quiet_hours": {"from": "22:00", "to": "07:00", "zone": None},
    "attributes": {"tier": "•••", "points": 1200},
    "devices": [DEVICE_SHOWN],
    "emails": [ADDRESS],
    "phones": [],
    "webhooks": [],
    "consents": [CONSENT],
    "version": 3,
    "created_at": _AT,
    "changed_at": _AT,
}
REPORT = {
    "id": "0195a3c8-7d10-7c9e-9c57-0d8f6a3c1b22",
    "state": "done",
    "format": "csv",
    "actor": "7mxq4zdkzt3la5vw",
    "started_at": _AT,
    "changed_at": _AT,
    "ended_at": _AT,
    "bytes": 182_340,
    "rows": 2_000,
    "created": 1_950,
    "changed": 30,
    "unchanged": 18,
    "refused": 2,
    "ignored_columns": ["internal note"],
    "problem": None,
    "refusals": [{"row": 17, "line": 18, "field": "E-Mail", "reason": "An e-mail address has the form name@domain."}],
    "refusals_cursor": None,
}


class AddressShown(BaseModel):
    """An address."""

    model_config = example(ADDRESS)
    id: int
    kind: str
    value: str
    created_at: AwareDatetime


class DeviceShown(AddressShown):
    """A device's address."""

    model_config = example(DEVICE_SHOWN)
    installation: str
    platform: str | None
    app_version: str | None
    locale: str | None
    seen_at: AwareDatetime


class OwnedDeviceShown(DeviceShown):
    """The device of an installation, with its owner; `retired_at` is set if its address is dead."""

    model_config = example({"recipient": "customer:4711", **DEVICE_SHOWN, "retired_at": None, "retired_why": None})
    recipient: str
    retired_at: AwareDatetime | None
    retired_why: str | None


class ConsentShown(BaseModel):
    """What holds for a topic and channel, with its proof."""

    model_config = example(CONSENT)
    topic: str
    channel: str
    granted: bool
    at: AwareDatetime
    how: str
    text_version: str | None


class StatementShown(ConsentShown):
    """One statement, and who recorded it."""

    model_config = example({"id": 5, **CONSENT, "message": None, "actor": "7mxq4zdkzt3la5vw", "recorded_at": _AT})
    id: int
    message: str | None
    actor: str
    recorded_at: AwareDatetime


class RecipientShown(BaseModel):
    """A recipient with addresses and consents."""

    model_config = example(RECIPIENT)
    key: str
    first_name: str | None
    last_name: str | None
    locale: str | None
    zone: str | None
    quiet_hours: dict[str, str | None] | None
    attributes: dict[str, Any]
    devices: list[DeviceShown]
    emails: list[AddressShown]
    phones: list[AddressShown]
    webhooks: list[AddressShown]
    consents: list[ConsentShown]
    version: int
    created_at: AwareDatetime
    changed_at: AwareDatetime


class RefusalShown(BaseModel):
    """A refused field of a row; `row` 1 is the first after the header."""

    row: int
    line: int
    field: str = Field(examples=["emails/0"])
    reason: str = Field(examples=["The domain is not a name like example.com; check the part after the @."])


class ImportListed(BaseModel):
    """An import: rows = created + changed + unchanged + refused."""

    model_config = example({name: value for name, value in REPORT.items() if not name.startswith("refusals")})
    id: UUID
    state: str
    format: str
    actor: str
    started_at: AwareDatetime
    changed_at: AwareDatetime
    ended_at: AwareDatetime | None
    bytes: int
    rows: int
    created: int
    changed: int
    unchanged: int
    refused: int
    ignored_columns: list[str]
    problem: str | None


class ImportShown(ImportListed):
    """An import with the first of its refused rows; more under `/refusals`."""

    model_config = example(REPORT)
    refusals: list[RefusalShown]
    refusals_cursor: str | None
