"""Sources over HTTP: their definitions, the shops' webhooks, and rehearsals of what a body would become."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Path, Request, Response
from starlette.routing import Match
from starlette.types import Scope

from libs import exact_json
from libs.auth import Principal, public, scope, signature
from libs.errors import Invalid, NotFound
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.telemetry import current_traceparent
from libs.web import EDIT, ExactResponse, ExactRoute, Router, etag, require_match
from services.orders_notification.api.bodies import headers_of, read_body
from services.orders_notification.api.deps import deps_of
from services.orders_notification.api.shapes import DeliveryTaken
from services.orders_notification.api.source_shapes import (
    Definition,
    Pasted,
    Rehearsed,
    ShippedSource,
    SourceBody,
    SourceShown,
)
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.mapping import Answer
from services.orders_notification.domain.sources import NAME, check_event_source, check_handshake, check_secrets, source
from services.orders_notification.domain.topics import Report, check, heard
from services.orders_notification.handlers.sources import Received, first_call, receive, rehearse
from services.orders_notification.ports.sources import Author, StoredSource

router = Router(prefix="/v1", tags=["sources"])

Reader = Annotated[Principal, scope("sources:read")]
Writer = Annotated[Principal, scope("sources:write")]
_OF_WEBHOOKS = ("verification", "handshake", "answer")

Name = Annotated[
    str, Path(pattern=f"^{NAME.pattern}$", max_length=63, description="The source's name.", examples=["shopify"])
]


@router.get("/sources")
async def list_sources(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[SourceShown]:
    """List sources by name."""
    (after,) = read_cursor(cursor, str) or ("",)
    found = await deps_of(request).sources.all(principal.tenant, principal.mode, after, limit + 1)
    reports = await _reports(request, found)
    return page_of(found, limit, lambda item: _shown(request, item, reports), lambda item: (item.source.name,))


async def answer_first_call(request: Request, name: Name) -> Response:
    """Answer a GET by which a sender tries the address, as the source's handshake says."""
    return _shown_to_sender(await first_call(deps_of(request), name, _delivery(request, name, b"")))


class FirstCallRoute(ExactRoute):
    """Takes a GET with a query and without a key: it comes from a sender. Our own users read the definition with a key,
    and without a query."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Leave all other requests to the routes of the same path."""
        with_key = any(name == b"authorization" for name, _ in scope["headers"])
        return (Match.NONE, {}) if with_key or not scope["query_string"] else super().matches(scope)


router.add_api_route(
    "/sources/{name}",
    answer_first_call,
    methods=["GET"],
    route_class_override=FirstCallRoute,
    dependencies=[signature("source")],
    include_in_schema=False,
)


@router.get("/sources/{name}")
async def get_source(request: Request, response: Response, principal: Reader, name: Name) -> SourceShown:
    """Return a source's definition; secrets are never returned."""
    stored = await _stored(request, principal, name)
    response.headers["etag"] = etag(stored.source.version)
    return _shown(request, stored, await _reports(request, [stored]))


@router.put("/sources/{name}", responses={201: {"model": SourceShown, "description": "It is new."}}, openapi_extra=EDIT)
async def put_source(
    request: Request, response: Response, principal: Writer, name: Name, body: SourceBody
) -> SourceShown:
    """Create or change a source. An edit sends If-Match with the version that it read; without a change there is no new
    version."""
    deps = deps_of(request)
    held = await deps.sources.get(principal.tenant, principal.mode, name)
    require_match(request, held.source.version if held else None)
    version = held.source.version + 1 if held else 1
    definition = _definition(body, deps.shipped)
    compiled = source(name, version, definition)
    check_handshake(compiled.handshake)
    check_event_source(compiled.event_source)
    if compiled.topic is not None:
        check(deps.grants, principal.tenant, compiled.topic)
    # a topic has no secrets: those of the webhook that it replaces are dropped
    held_secrets = list(held.secrets) if held and compiled.topic is None else []
    secrets = body.secrets if body.secrets is not None else held_secrets
    check_secrets(compiled.verification, secrets)
    response.status_code = 200 if held else 201
    if held is not None and (held.definition, list(held.secrets)) == (definition, secrets):
        stored = held  # a file with a shipped definition is applied again after each upgrade
    else:
        await deps.sources.put(_author(request, principal), compiled, definition, secrets)
        stored = await _stored(request, principal, name)
    response.headers["etag"] = etag(stored.source.version)
    return _shown(request, stored, await _reports(request, [stored]))


@router.delete("/sources/{name}", status_code=204, openapi_extra=EDIT)
async def delete_source(request: Request, principal: Writer, name: Name) -> None:
    """Remove a source: its webhook answers 404, its topic is no longer consumed. Its events stay."""
    held = await _stored(request, principal, name)
    require_match(request, held.source.version)
    await deps_of(request).sources.delete(_author(request, principal), name, held.source.version)


@router.post("/sources/{name}:test", response_class=ExactResponse, responses={200: {"model": Rehearsed}})
async def rehearse_delivery(request: Request, principal: Writer, name: Name, body: Pasted) -> Response:
    """Return what a pasted delivery would become: verified or not, the mapped events, each communication's decision.

    Nothing is written. With `definition`, that one is tried instead of the stored one.
    """
    stored = await _rehearsed(request, principal, name, body.definition)
    raw = body.body.encode() if isinstance(body.body, str) else exact_json.dumps(body.body)
    headers = {header.lower(): value for header, value in body.headers.items()}
    delivery = Delivery(raw, headers, body.query, url=_address(request, name, urlencode(body.query)))
    report = await rehearse(deps_of(request), stored, delivery, unmasked=principal.may("pii:read"))
    return ExactResponse(report)


@router.post(
    "/sources/{name}",
    status_code=202,
    dependencies=[signature("source")],
    openapi_extra={
        "requestBody": {"content": {"application/json": {"schema": {}, "example": {"id": 820982911946154508}}}}
    },
    responses={
        200: {"description": "A handshake, or the source's own `answer`."},
        202: {"model": DeliveryTaken, "description": "Accepted, or stored as rejected."},
    },
)
async def receive_delivery(request: Request, name: Name) -> Response:
    """Receive a shop's webhook. 2xx means that it is safe here: accepted, a duplicate, or stored for a replay."""
    deps = deps_of(request)
    delivery = _delivery(request, name, await read_body(request, deps.limits.batch_bytes))
    received = await receive(deps, name, delivery, current_traceparent())
    if received.answer is not None:
        return _shown_to_sender(received.answer)
    return ExactResponse(_answer(received), 202)


@router.api_route("/sources/{name}", methods=["OPTIONS", "HEAD"], dependencies=[public()], include_in_schema=False)
async def allow_deliveries(request: Request, name: Name) -> Response:
    """Answer CloudEvents' webhook handshake (Event Grid uses it): who may deliver, and how fast. Mandrill and Trello
    send HEAD."""
    origin = request.headers.get("webhook-request-origin", "*")
    return Response(
        status_code=200,
        headers={"webhook-allowed-origin": origin, "webhook-allowed-rate": "*", "allow": "POST, OPTIONS"},
    )


@router.get("/shipped-sources")
async def list_shipped_sources(request: Request, _: Reader) -> list[ShippedSource]:
    """List the sources that Depesche ships; `PUT /v1/sources/{name}` with `shipped` and your secret activates one."""
    shipped = deps_of(request).shipped
    return [ShippedSource.model_validate({"name": name, **shipped[name]}) for name in sorted(shipped)]


def _definition(body: SourceBody, shipped: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the given definition, merged over the shipped one where one is named."""
    given = body.model_dump(mode="json", exclude={"secrets", "shipped"}, exclude_none=True)
    if body.shipped is not None:
        if body.shipped not in shipped:
            raise Invalid(f"{body.shipped!r} is not one of {', '.join(sorted(shipped))}.", pointer="/shipped")
        base = shipped[body.shipped]
        if "topic" in given:  # a shop's webhooks through a queue: same mapping, no signature
            base = {name: value for name, value in base.items() if name not in _OF_WEBHOOKS}
        given = {**base, **given}
    return Definition.model_validate(given).model_dump(mode="json", exclude_none=True)


async def _stored(request: Request, principal: Principal, name: str) -> StoredSource:
    stored = await deps_of(request).sources.get(principal.tenant, principal.mode, name)
    if stored is None:
        raise NotFound(f"There is no source {name!r} in this tenant and mode; `depesche sources list` shows the names.")
    return stored


async def _rehearsed(request: Request, principal: Principal, name: str, definition: Definition | None) -> StoredSource:
    if definition is None:
        return await _stored(request, principal, name)
    held = await deps_of(request).sources.get(principal.tenant, principal.mode, name)
    now = deps_of(request).clock()
    dumped = definition.model_dump(mode="json", exclude_none=True)
    return StoredSource(
        tenant=principal.tenant,
        mode=principal.mode,
        source=source(name, 0, dumped),
        definition=dumped,
        secrets=held.secrets if held else (),
        created_at=now,
        updated_at=now,
    )


def _author(request: Request, principal: Principal) -> Author:
    return Author(principal.tenant, principal.mode, principal.actor, deps_of(request).clock())


def _delivery(request: Request, name: str, body: bytes) -> Delivery:
    query = dict(request.query_params)
    exact_json.refuse_unstorable(query)
    return Delivery(body, headers_of(request), query, request.method, _address(request, name, request.url.query))


def _shown_to_sender(answer: Answer) -> Response:
    # it may repeat what the caller sent: no browser may take it for a page of ours
    return Response(answer.content, media_type=answer.media_type, headers={"x-content-type-options": "nosniff"})


def _answer(received: Received) -> dict[str, Any]:
    results = [
        {"status": "kept" if v.errors else v.status, "id": v.id, "reason": v.reason.word if v.errors else None}
        for v in received.verdicts
    ]
    return {"results": results, "filtered": received.filtered}


async def _reports(request: Request, stored: Sequence[StoredSource]) -> Sequence[Report]:
    topics = any(one.source.topic is not None for one in stored)
    return await deps_of(request).listening.reports() if topics else ()


def _address(request: Request, name: str, query: str = "") -> str:
    """Return the webhook's URL as the shop knows it: some sign it, with the query."""
    url = f"{request.app.state.runtime.public_url.rstrip('/')}/orders-notification/v1/sources/{name}"
    return f"{url}?{query}" if query else url


def _shown(request: Request, stored: StoredSource, reports: Sequence[Report]) -> SourceShown:
    name, topic = stored.source.name, stored.source.topic
    hearing = None if topic is None else asdict(heard(topic, reports, dapr=deps_of(request).sidecar is not None))
    url = _address(request, name)
    return SourceShown.model_validate(
        {
            **stored.definition,
            "name": name,
            "version": stored.source.version,
            "secrets": [hashlib.sha256(secret.encode()).hexdigest()[:8] for secret in stored.secrets],
            "webhook": url if topic is None else None,
            "hearing": hearing,
            "created_at": stored.created_at,
            "updated_at": stored.updated_at,
        }
    )
