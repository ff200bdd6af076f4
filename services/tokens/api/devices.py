"""Devices by installation: called by the app's back end."""

from fastapi import Request, Response

from libs.web import ExactResponse, Router
from services.tokens import queries
from services.tokens.api.common import (
    CanRead,
    CanWrite,
    InstallationInPath,
    act_of,
    deps_of,
    realm_of,
    translator_of,
)
from services.tokens.api.shapes import DeviceRegistration, DeviceToken, Login
from services.tokens.api.shown import OwnedDeviceShown
from services.tokens.handlers.devices import (
    Registration,
    move_device,
    nobody_on,
    refresh_device,
    register_device,
    unregister_device,
)

router = Router(prefix="/v1/devices", tags=["devices"])


@router.post("", response_model=OwnedDeviceShown, status_code=201)
async def register(request: Request, principal: CanWrite, body: DeviceRegistration) -> Response:
    """The app started: register its installation and address, for the customer who is logged in, or for nobody.

    An installation has one live address; a token that belonged to another installation moves here."""
    device = translator_of(request).device(body.installation, body)
    registration = Registration(device, body.recipient, body.zone)
    await register_device(deps_of(request), act_of(request, principal), registration)
    return await _shown(request, principal, body.installation, 201)


@router.get("/{installation:path}", response_model=OwnedDeviceShown)
async def show_device(request: Request, principal: CanRead, installation: InstallationInPath) -> Response:
    """Get the device of an installation, and its owner."""
    return await _shown(request, principal, installation)


@router.post("/{installation:path}:refresh", response_model=OwnedDeviceShown)
async def refresh(
    request: Request, principal: CanWrite, installation: InstallationInPath, body: DeviceToken
) -> Response:
    """Firebase gave the installation a new token: it replaces the old one.

    An unregistered installation stays unregistered until it registers again.
    """
    device = translator_of(request).device(installation, body)
    await refresh_device(deps_of(request), act_of(request, principal), device)
    return await _shown(request, principal, installation)


@router.post("/{installation:path}:login", response_model=OwnedDeviceShown)
async def login(request: Request, principal: CanWrite, installation: InstallationInPath, body: Login) -> Response:
    """Somebody logged in: the device moves to them, from whoever owned it."""
    await move_device(deps_of(request), act_of(request, principal), installation, body.recipient)
    return await _shown(request, principal, installation)


@router.post("/{installation:path}:logout", response_model=OwnedDeviceShown)
async def logout(request: Request, principal: CanWrite, installation: InstallationInPath) -> Response:
    """They logged out: the device belongs to the installation itself again."""
    await move_device(deps_of(request), act_of(request, principal), installation, nobody_on(installation))
    return await _shown(request, principal, installation)


@router.post("/{installation:path}:unregister", response_model=OwnedDeviceShown)
async def unregister(request: Request, principal: CanWrite, installation: InstallationInPath) -> Response:
    """Send no more pushes to this installation, until it registers again."""
    await unregister_device(deps_of(request), act_of(request, principal), installation)
    return await _shown(request, principal, installation)


async def _shown(request: Request, principal: CanRead, installation: str, status: int = 200) -> Response:
    unmasked = principal.may("pii:read")
    view = await queries.device(deps_of(request), realm_of(principal), installation, unmasked=unmasked)
    return ExactResponse(view, status)
