"""Converts HTTP shapes to domain values, collecting every error of a body before it is rejected."""

from datetime import UTC, datetime, timedelta
from typing import Any

from libs.addresses import Address, InvalidAddress, device_token, email_address, phone_number, webhook_url
from libs.contracts.outcomes import Channel
from libs.errors import FieldError, Invalid
from libs.ids import RecipientKey
from services.tokens.api.shapes import AddressBody, ConsentBody, DeviceToken, ImportDevice, ImportRow, RecipientBody
from services.tokens.domain.consents import ALL_TOPICS, Statement
from services.tokens.domain.recipients import MASK, Change, Device, may_own, recipient_key
from services.tokens.settings import TokensSettings

_AHEAD = timedelta(minutes=5)  # shops' clocks differ; more than this is a wrong date


class Translator:
    """Converts shapes to changes, collecting every error of a body before it raises."""

    def __init__(self, settings: TokensSettings, now: datetime) -> None:
        self._settings = settings
        self._now = now
        self._errors: list[FieldError] = []

    def change(self, key: str, body: RecipientBody, *, whole: bool = False) -> Change:
        """Return the change of a PUT (`whole`) or PATCH. Raises Invalid naming all wrong fields."""
        change = Change(key=recipient_key(key), profile=_profile(body), addresses=self._addresses(body), whole=whole)
        self._refuse()
        return change

    def row(self, row: ImportRow) -> Change:
        """Return the change of an import's row: nothing in it empties a field."""
        change = Change(
            key=recipient_key(row.key),
            profile={name: value for name, value in _profile(row).items() if value is not None},
            addresses=self._addresses(row, row.region),
            devices=self._devices(row.key, row.devices),
            statements=self._statements(row.consents, "imported", "not recorded"),
        )
        self._refuse()
        return change

    def device(self, installation: str, body: DeviceToken) -> Device:
        """Return a device as its app reports it. Raises Invalid."""
        device = self._device(installation, body, "/token")
        self._refuse()
        assert device is not None
        return device

    def statements(self, bodies: list[ConsentBody]) -> tuple[Statement, ...]:
        """Return consents with their proof. Raises Invalid."""
        made = self._statements(bodies, None, None)
        self._refuse()
        return made

    def address(self, channel: Channel, body: AddressBody) -> Address:
        """Return one address. Raises Invalid."""
        address = self._address(channel, body.value, "/value", body.region)
        self._refuse()
        assert address is not None
        return address

    def _addresses(self, body: RecipientBody, region: str | None = None) -> dict[Channel, tuple[Address, ...]]:
        named = {Channel.EMAIL: "emails", Channel.SMS: "phones", Channel.WEBHOOK: "webhooks"}
        made: dict[Channel, tuple[Address, ...]] = {}
        for channel, name in named.items():
            values = getattr(body, name)
            if values is not None:
                found = [self._address(channel, text, f"/{name}/{at}", region) for at, text in enumerate(values)]
                made[channel] = tuple(address for address in found if address is not None)
        return made

    def _address(self, channel: Channel, text: str, pointer: str, region: str | None = None) -> Address | None:
        try:
            if MASK in text:
                raise InvalidAddress("This is the masked value; read it with the scope pii:read.", pointer=pointer)
            match channel:
                case Channel.EMAIL:
                    return email_address(text, pointer)
                case Channel.SMS:
                    return phone_number(text, region or self._settings.default_region, pointer)
                case _:
                    return webhook_url(text, allow_private=self._settings.allow_private_webhooks, pointer=pointer)
        except InvalidAddress as error:
            self._errors += error.errors
            return None

    def _devices(self, key: RecipientKey, bodies: list[ImportDevice]) -> tuple[Device, ...]:
        made: dict[str, Device] = {}
        for at, body in enumerate(bodies):
            own = key.partition(":")[2] if key.startswith("installation:") else f"of-token:{body.token[:150]}"
            installation = body.installation or own
            if not may_own(key, installation):
                said = "A device must belong to a customer or to its own installation."
                self._errors.append(FieldError(f"/devices/{at}/installation", said))
            device = self._device(installation, body, f"/devices/{at}/token")
            if device is not None:
                if installation in made or any(d.address.canonical == device.address.canonical for d in made.values()):
                    self._errors.append(FieldError(f"/devices/{at}", "The same device occurs twice in one row."))
                made[installation] = device
        return tuple(made.values())

    def _device(self, installation: str, body: DeviceToken, pointer: str) -> Device | None:
        try:
            address = device_token(body.kind, body.token, pointer)
        except InvalidAddress as error:
            self._errors += error.errors
            return None
        return Device(installation, address, body.platform or None, body.app_version or None, body.locale or None)

    def _statements(
        self, bodies: list[ConsentBody], how: str | None, text_version: str | None
    ) -> tuple[Statement, ...]:
        made = []
        for at, body in enumerate(bodies):
            pointer = f"/consents/{at}"
            said = body.at or self._now
            how_, version = body.how or how, body.text_version or (text_version if body.granted else None)
            if said > self._now + _AHEAD:
                self._errors.append(FieldError(f"{pointer}/at", "A consent cannot be in the future."))
            if body.granted and body.topic == ALL_TOPICS:
                self._errors.append(
                    FieldError(f"{pointer}/topic", "A yes must name its topic; * is only for a no to all.")
                )
            if body.granted and not (how_ and version):
                missing = "text_version" if how_ else "how"
                self._errors.append(
                    FieldError(
                        f"{pointer}/{missing}", "A yes needs its proof: give how it was stated and the text_version."
                    )
                )
            made.append(
                Statement(
                    body.topic,
                    Channel[body.channel.upper()],
                    body.granted,
                    said.astimezone(UTC),
                    how_ or "stated by the shop",
                    version,
                    dated=body.at is not None or how is None,  # a single statement is stated now
                    by_us=body.at is None and how is None,
                )
            )
        return tuple(made)

    def _refuse(self) -> None:
        if self._errors:
            errors, self._errors = self._errors, []
            raise Invalid.many(errors)


def _profile(body: RecipientBody) -> dict[str, Any]:
    named = body.model_dump(
        include={"first_name", "last_name", "locale", "zone", "quiet_hours", "attributes"},
        exclude_unset=True,
        by_alias=True,
    )
    if named.get("quiet_hours"):
        named["quiet_hours"].setdefault("zone", None)
    # an empty string empties the field; empty attributes are attributes
    return {name: value if name == "attributes" else value or None for name, value in named.items()}
