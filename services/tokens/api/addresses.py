"""A recipient's addresses, channel by channel."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import Path, Request, Response

from libs.contracts.outcomes import Channel
from libs.paging import Page
from libs.web import ExactResponse, Router
from services.tokens import queries
from services.tokens.api.common import (
    CanRead,
    CanWrite,
    KeyInPath,
    act_of,
    deps_of,
    realm_of,
    shown,
    translator_of,
)
from services.tokens.api.shapes import AddressBody, DeviceBody
from services.tokens.api.shown import AddressShown, DeviceShown, RecipientShown
from services.tokens.handlers.devices import Registration, register_device
from services.tokens.handlers.recipients import add_address, remove_address

router = Router(prefix="/v1/recipients", tags=["addresses"])


class Written(StrEnum):
    """Channels whose addresses people write."""

    EMAILS = "emails"
    PHONES = "phones"
    WEBHOOKS = "webhooks"


_CHANNELS = {"devices": Channel.PUSH, "emails": Channel.EMAIL, "phones": Channel.SMS, "webhooks": Channel.WEBHOOK}
AddressId = Annotated[int, Path(ge=1, lt=1 << 63, description="The address's id.", examples=[17])]


@router.get("/{key:path}/devices", response_model=Page[DeviceShown])
async def list_devices(request: Request, principal: CanRead, key: KeyInPath) -> Response:
    """List the devices on which this recipient can be reached."""
    return await _list(request, principal, key, "devices")


@router.get("/{key:path}/emails", response_model=Page[AddressShown])
async def list_emails(request: Request, principal: CanRead, key: KeyInPath) -> Response:
    """List the recipient's e-mail addresses."""
    return await _list(request, principal, key, "emails")


@router.get("/{key:path}/phones", response_model=Page[AddressShown])
async def list_phones(request: Request, principal: CanRead, key: KeyInPath) -> Response:
    """List the recipient's phone numbers."""
    return await _list(request, principal, key, "phones")


@router.get("/{key:path}/webhooks", response_model=Page[AddressShown])
async def list_webhooks(request: Request, principal: CanRead, key: KeyInPath) -> Response:
    """List the recipient's webhook URLs."""
    return await _list(request, principal, key, "webhooks")


@router.post("/{key:path}/devices", response_model=RecipientShown, status_code=201)
async def add_device(request: Request, principal: CanWrite, key: KeyInPath, body: DeviceBody) -> Response:
    """Register a device for this recipient, wherever it was before."""
    device = translator_of(request).device(body.installation, body)
    await register_device(deps_of(request), act_of(request, principal), Registration(device, key))
    return await shown(request, principal, key, 201)


@router.post("/{key:path}/emails", response_model=AddressShown, status_code=201)
async def add_email(request: Request, principal: CanWrite, key: KeyInPath, body: AddressBody) -> Response:
    """Add an e-mail address; 200 if it already exists."""
    return await _add(request, principal, key, Written.EMAILS, body)


@router.post("/{key:path}/phones", response_model=AddressShown, status_code=201)
async def add_phone(request: Request, principal: CanWrite, key: KeyInPath, body: AddressBody) -> Response:
    """Add a phone number, stored in E.164; 200 if it already exists."""
    return await _add(request, principal, key, Written.PHONES, body)


@router.post("/{key:path}/webhooks", response_model=AddressShown, status_code=201)
async def add_webhook(request: Request, principal: CanWrite, key: KeyInPath, body: AddressBody) -> Response:
    """Add a webhook URL; private and loopback hosts are rejected unless a setting allows them."""
    return await _add(request, principal, key, Written.WEBHOOKS, body)


@router.delete("/{key:path}/devices/{address_id}", status_code=204)
async def remove_device(request: Request, principal: CanWrite, key: KeyInPath, address_id: AddressId) -> Response:
    """Retire a device's address; it comes back when its app registers again."""
    return await _remove(request, principal, key, Channel.PUSH, address_id)


@router.delete("/{key:path}/emails/{address_id}", status_code=204)
async def remove_email(request: Request, principal: CanWrite, key: KeyInPath, address_id: AddressId) -> Response:
    """Remove an e-mail address."""
    return await _remove(request, principal, key, Channel.EMAIL, address_id)


@router.delete("/{key:path}/phones/{address_id}", status_code=204)
async def remove_phone(request: Request, principal: CanWrite, key: KeyInPath, address_id: AddressId) -> Response:
    """Remove a phone number."""
    return await _remove(request, principal, key, Channel.SMS, address_id)


@router.delete("/{key:path}/webhooks/{address_id}", status_code=204)
async def remove_webhook(request: Request, principal: CanWrite, key: KeyInPath, address_id: AddressId) -> Response:
    """Remove a webhook URL."""
    return await _remove(request, principal, key, Channel.WEBHOOK, address_id)


async def _list(request: Request, principal: CanRead, key: str, name: str) -> Response:
    unmasked = principal.may("pii:read")
    view = await queries.recipient(deps_of(request), realm_of(principal), key, unmasked=unmasked)
    return ExactResponse({"items": view[name], "next_cursor": None})


async def _add(request: Request, principal: CanWrite, key: Any, name: Written, body: AddressBody) -> Response:
    channel = _CHANNELS[name]
    address = translator_of(request).address(channel, body)
    added = await add_address(deps_of(request), act_of(request, principal), key, (channel, address))
    unmasked = principal.may("pii:read")
    view = await queries.recipient(deps_of(request), realm_of(principal), key, unmasked=unmasked)
    item = next((item for item in view[name] if item["id"] == added.id), None)
    return ExactResponse(item, 201 if added.created else 200)


async def _remove(request: Request, principal: CanWrite, key: Any, channel: Channel, address_id: int) -> Response:
    await remove_address(deps_of(request), act_of(request, principal), key, (channel, address_id))
    return Response(status_code=204)
