"""Providers' callbacks: routes pass raw bytes and the public URL, because signatures cover them."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from libs.auth import signature
from libs.contracts.outcomes import Mode
from libs.web import Router
from services.delivery.api.shapes import WebhookTaken
from services.delivery.domain.callbacks import Callback
from services.delivery.domain.mail_vendors import Vendor
from services.delivery.handlers.receiving import Receiving, Whose, receive_simulator, receive_twilio
from services.delivery.handlers.webhooks import receive_webhook

router = Router(prefix="/v1/callbacks", tags=["callbacks"])

_SERVICE = "/delivery"  # the application's mount point, which the ingress strips
_FORM: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "additionalProperties": {"type": "string"}},
                "example": {"MessageSid": "SM0123456789abcdef0123456789abcdef", "MessageStatus": "delivered"},
            }
        }
    }
}
_RECEIPTS: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "array", "items": {"type": "object"}},
                "example": [
                    {
                        "id": "r-1",
                        "message": "01936b1e-7c00-8000-8000-000000000001.17",
                        "attempt": 1,
                        "kind": "delivered",
                        "at": "2026-11-23T12:00:00Z",
                    }
                ],
            }
        }
    }
}

_EVENTS: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": ["object", "array"], "items": {"type": "object"}},
                "example": [
                    {
                        "event": "bounce",
                        "sg_event_id": "c3Bvb2wtMQ",
                        "timestamp": 1_798_000_000,
                        "type": "bounce",
                        "reason": "550 5.1.1 No such mailbox",
                        "depesche": "b-aeatm2y6qaaiaaeaaaaaaaaaaaaqaaaaaaaaaaaarcvw4cbzdx5a",
                    }
                ],
            }
        }
    }
}

VendorInPath = Annotated[Vendor, Path(description="The vendor in the sender's account.")]
Tenant = Annotated[int, Query(ge=1, le=32_767, description="The sender's tenant.")]
Mode_ = Annotated[str, Query(alias="mode", pattern="^(live|test)$", description="The sender's mode.")]
Number = Annotated[int, Query(ge=1, le=32_767, alias="sender", description="The sender's number.")]


@router.post(
    "/twilio",
    dependencies=[signature("twilio")],
    summary="Twilio's status callbacks and inbound messages",
    openapi_extra=_FORM,
)
async def twilio(request: Request, tenant: Tenant, mode: Mode_, number: Number) -> Response:
    """Signed by X-Twilio-Signature with the sender's auth token. A repeated callback changes nothing. Responds with
    empty TwiML, so that Twilio sends the customer nothing."""
    whose = Whose(tenant, Mode[mode.upper()], number)
    await receive_twilio(_receiving(request), await _callback(request, "twilio"), whose)
    return Response("<Response/>", media_type="text/xml")


@router.post(
    "/simulator",
    dependencies=[signature("simulator")],
    summary="The simulator's receipts",
    status_code=204,
    openapi_extra=_RECEIPTS,
)
async def simulator(request: Request) -> Response:
    """Up to 1,000 receipts, signed by Standard Webhooks. Repeated receipts change nothing."""
    await receive_simulator(_receiving(request), await _callback(request, "simulator"))
    return Response(status_code=204)


@router.post(
    "/{vendor}",
    dependencies=[signature("mail vendor")],
    summary="A mail vendor's webhooks: bounces, complaints, receipts",
    openapi_extra=_EVENTS,
)
async def mail_vendor(
    request: Request, vendor: VendorInPath, tenant: Tenant, mode: Mode_, number: Number
) -> WebhookTaken:
    """Signed in the vendor's way, with a key of the sender's account. Repeated events change nothing, nor do those
    about mails that are not ours. Of a list, the readable events are applied, and a 422 names the others."""
    whose = Whose(tenant, Mode[mode.upper()], number)
    taken = await receive_webhook(_receiving(request), vendor, await _callback(request, vendor.value), whose)
    return WebhookTaken(
        new=taken.new, repeated=taken.repeated, unknown_messages=taken.unknown_messages, ignored=taken.ignored
    )


async def _callback(request: Request, provider: str) -> Callback:
    """Return the request as its signer saw it: a proxy may have changed scheme, host and path."""
    query = request.scope["query_string"].decode("latin-1")
    url = f"{_receiving(request).public_url.rstrip('/')}{_SERVICE}{router.prefix}/{provider}"
    return Callback(f"{url}?{query}" if query else url, request.headers, await request.body())


def _receiving(request: Request) -> Receiving:
    receiving: Receiving = request.app.state.deps.receiving
    return receiving
