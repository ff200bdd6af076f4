"""Senders, holds and cancelling: operators' actions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from libs.auth import Principal, internal, scope
from libs.contracts.outcomes import Channel, Mode
from libs.errors import Invalid, NotFound
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.delivery.api.shapes import (
    CAUSE_ID,
    CancelBody,
    Cancelled,
    HoldBody,
    HoldShown,
    SenderBody,
    SenderNumbers,
    SendersFound,
    SenderShown,
)
from services.delivery.domain.sender_accounts import SECRETS, callback_url, read_account, split_secrets
from services.delivery.domain.steering import PROVIDER, SIMULATOR, Hold, HoldKind, SenderSetup
from services.delivery.handlers import Delivery
from services.delivery.handlers.operations import cancel_cause, lift_hold, place_hold, put_sender

router = Router(prefix="/v1", tags=["operations"])

Reader = Annotated[Principal, scope("delivery:read", internal=True)]
Operator = Annotated[Principal, scope("delivery:operate")]
Suite = Annotated[Principal, internal()]
_MOST_NUMBER = 32_767
Number = Annotated[int, Path(ge=1, le=_MOST_NUMBER, description="The sender's number within the tenant.", examples=[1])]
Kind = Annotated[
    str, Query(pattern="^(cause|release|sender|tenant)$", description="What the hold stops.", examples=["cause"])
]
Target = Annotated[
    str,
    Query(
        min_length=1,
        max_length=64,
        pattern="^[0-9A-Za-z-]+$",
        description="Id of the cause or release, or number of the sender or tenant.",
        examples=[CAUSE_ID],
    ),
]


@router.get("/senders", summary="A tenant's senders")
async def list_senders(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[SenderShown]:
    """Sorted by number, without their secrets."""
    (after,) = read_cursor(cursor, int, below=_MOST_NUMBER + 1) or (0,)
    deps = _deps(request)
    found = await deps.operations.senders((principal.tenant, principal.mode), after, limit + 1)
    return page_of(found, limit, lambda setup: _sender(deps, setup), lambda setup: (setup.number,))


@router.get("/senders/{number}", summary="One sender")
async def get_sender(request: Request, response: Response, principal: Reader, number: Number) -> SenderShown:
    """With its ETag, which an edit sends as If-Match."""
    deps = _deps(request)
    setup = await deps.operations.sender((principal.tenant, principal.mode), number)
    if setup is None:
        raise NotFound(
            f"There is no sender {number} in this tenant and mode; `depesche senders list` shows the numbers."
        )
    response.headers["etag"] = etag(setup.version)
    return _sender(deps, setup)


@router.put(
    "/senders/{number}",
    summary="Create or change a sender",
    responses={201: {"model": SenderShown, "description": "It is new."}},
    openapi_extra=EDIT,
)
async def set_sender(
    request: Request, response: Response, principal: Operator, number: Number, body: SenderBody
) -> SenderShown:
    """Workers use it within five seconds. Test traffic goes to the simulator, whatever is configured. An edit without
    a change creates no new version."""
    deps = _deps(request)
    channel = Channel[body.channel.upper()]
    before = await deps.operations.sender((principal.tenant, principal.mode), number)
    shown, secrets = _account(deps, principal, number, (channel, body.account, before))
    wanted = SenderSetup(
        tenant=principal.tenant,
        mode=principal.mode,
        number=number,
        name=body.name,
        channel=channel,
        kind=PROVIDER if body.account is not None else SIMULATOR,
        account=shown,
        secrets=secrets,
        rate=body.rate_per_second,
        burst=body.burst,
    )
    setup, new = await put_sender(deps, principal, wanted, lambda version: require_match(request, version))
    response.status_code = 201 if new else 200
    response.headers["etag"] = etag(setup.version)
    return _sender(deps, setup)


@router.post("/senders:resolve", summary="Which senders exist")
async def resolve_senders(request: Request, principal: Suite, body: SenderNumbers) -> SendersFound:
    """For publishing: the numbers that are configured in the call's tenant and mode; others are absent."""
    found = await _deps(request).operations.channels((principal.tenant, principal.mode), body.numbers)
    return SendersFound(senders={number: {"channel": channel.word} for number, channel in found.items()})


def _account(
    deps: Delivery, principal: Principal, number: int, given: tuple[Channel, dict[str, Any] | None, SenderSetup | None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    channel, document, before = given
    if document is None:
        return {}, {}
    kept = before.secrets if before is not None and before.channel is channel else {}
    whole = {**{name: value for name, value in kept.items() if name in SECRETS[channel]}, **document}
    if channel is Channel.SMS:
        url = callback_url(deps.line.public_url, principal.tenant, principal.mode, number)
        whole = {"callback_url": url} | whole
    return split_secrets(channel, read_account(channel, whole, longest=deps.line.pace.longest_call))


def _sender(deps: Delivery, setup: SenderSetup) -> SenderShown:
    return SenderShown(
        number=setup.number,
        name=setup.name,
        channel=setup.channel.word,
        provider=setup.kind,
        account=setup.account,
        secrets=sorted(setup.secrets),
        rate_per_second=setup.rate,
        burst=setup.burst,
        version=setup.version,
        changed_at=setup.changed_at,
        webhook_url=_webhook_url(deps, setup),
    )


def _webhook_url(deps: Delivery, setup: SenderSetup) -> str | None:
    """Test traffic goes to the simulator, so no vendor reports about it."""
    vendor = setup.account.get("vendor") if setup.mode is Mode.LIVE else None
    return callback_url(deps.line.public_url, setup.tenant, setup.mode, setup.number, vendor) if vendor else None


@router.get("/holds", summary="Active holds")
async def list_holds(request: Request, principal: Reader, limit: Limit = 100, cursor: After = None) -> Page[HoldShown]:
    """Sorted by kind and target."""
    after = read_cursor(cursor, str, str) or ("", "")
    realm = (principal.tenant, principal.mode)
    found = await _deps(request).operations.holds(realm, after, limit + 1)
    return page_of(found, limit, _hold, lambda hold: (hold.kind.value, hold.target))


@router.post(
    "/holds",
    status_code=201,
    summary="Place a hold",
    responses={200: {"model": HoldShown, "description": "It already exists."}},
)
async def hold(request: Request, response: Response, principal: Operator, body: HoldBody) -> HoldShown:
    """Nothing of the target is called until the hold is lifted; nothing is lost. 200 if the hold already exists."""
    deps = _deps(request)
    placed, new = await place_hold(deps, principal, _wanted(deps, principal, (body.kind, body.target), body.note))
    response.status_code = 201 if new else 200
    return _hold(placed)


@router.delete("/holds", summary="Lift a hold")
async def lift(
    request: Request,
    principal: Operator,
    kind: Kind,
    target: Target,
    note: Annotated[
        str | None, Query(max_length=500, pattern=r"^[^\x00]*$", description="Why it is lifted, for the audit.")
    ] = None,
) -> HoldShown:
    """The work that it stopped continues."""
    deps = _deps(request)
    return _hold(await lift_hold(deps, principal, _wanted(deps, principal, (kind, target), note)))


@router.post("/causes/{id}:cancel", summary="Cancel a cause")
async def cancel(
    request: Request,
    principal: Operator,
    id_: Annotated[UUID, Path(alias="id", description="The cause's id.", examples=[CAUSE_ID])],
    body: CancelBody,
) -> Cancelled:
    """Messages that have not been called yet end as skipped(cancelled). Messages already called keep their status."""
    count = await cancel_cause(_deps(request), principal, id_, body.note)
    return Cancelled(cause_id=id_, open_requests=count)


def _wanted(deps: Delivery, principal: Principal, what: tuple[str, str], note: str | None) -> Hold:
    kind, target = what
    return Hold(
        tenant=principal.tenant,
        mode=principal.mode,
        kind=HoldKind(kind),
        target=_target(principal, HoldKind(kind), target),
        version=0,
        active=True,
        note=note,
        actor=principal.actor,
        changed_at=deps.line.clock(),
    )


def _target(principal: Principal, kind: HoldKind, target: str) -> str:
    if kind in (HoldKind.CAUSE, HoldKind.RELEASE):
        try:
            return str(UUID(target))
        except ValueError as error:
            raise Invalid(f"A {kind.value} must be given by its UUID.", pointer="/target") from error
    if not (target.isascii() and target.isdigit() and 1 <= int(target) <= 32_767):
        raise Invalid(f"A {kind.value} must be given by its number.", pointer="/target")
    if kind is HoldKind.TENANT and int(target) != principal.tenant:
        raise Invalid(f"This key can only stop tenant {principal.tenant}.", pointer="/target")
    return str(int(target))


def _hold(hold: Hold) -> HoldShown:
    return HoldShown(
        kind=hold.kind.value,
        target=hold.target,
        note=hold.note,
        version=hold.version,
        active=hold.active,
        actor=hold.actor,
        changed_at=hold.changed_at,
    )


def _deps(request: Request) -> Delivery:
    deps: Delivery = request.app.state.deps
    return deps
