"""Other systems' webhooks: they receive facts and suppressions, signed after Standard Webhooks."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request, Response

from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.bounce.api import Reader, Writer, deps_of, period
from services.bounce.api.webhook_shapes import (
    AgainBody,
    AgainShown,
    AttemptShown,
    TryShown,
    WebhookBody,
    WebhookMade,
    WebhookShown,
)
from services.bounce.domain.webhooks import Webhook
from services.bounce.handlers import webhooks as handlers
from services.bounce.ports.webhooks import Again

router = Router(prefix="/v1/webhooks", tags=["webhooks"])

Id = Annotated[UUID, Path(description="From GET webhooks.")]


@router.get("", summary="Webhooks")
async def list_webhooks(request: Request, principal: Reader) -> Page[WebhookShown]:
    """List all webhooks, at most 20."""
    deps = deps_of(request)
    found = await deps.webhooks.all((principal.tenant, principal.mode))
    counts = await deps.webhooks.counts([one.id for one in found])
    return Page(items=[WebhookShown(**_shown(one, counts[one.id])) for one in found], next_cursor=None)


@router.post("", status_code=201, summary="Set up a webhook")
async def make_webhook(request: Request, response: Response, principal: Writer, body: WebhookBody) -> WebhookMade:
    """Create a webhook, which from now on receives each event of the named kinds. The secret is shown only once."""
    made = await handlers.make_webhook(deps_of(request), principal, _wanted(body))
    response.headers["location"] = f"/bounce/v1/webhooks/{made.id}"
    response.headers["etag"] = etag(made.version)
    return WebhookMade(**_shown(made), secret=made.secrets[0].key)


@router.get("/{id}", summary="One webhook")
async def get_webhook(request: Request, response: Response, principal: Reader, id: Id) -> WebhookShown:
    """Return a webhook's settings and state."""
    deps = deps_of(request)
    found = await handlers.webhook_of(deps, principal, id)
    response.headers["etag"] = etag(found.version)
    return WebhookShown(**_shown(found, (await deps.webhooks.counts([id]))[id]))


@router.put("/{id}", summary="Change a webhook", openapi_extra=EDIT)
async def change_webhook(
    request: Request, response: Response, principal: Writer, id: Id, body: WebhookBody
) -> WebhookShown:
    """Replace its settings, with If-Match. If we had disabled it, it is tried again, with the events that waited."""
    deps = deps_of(request)
    changed = await handlers.change_webhook(
        deps, principal, id, _wanted(body), lambda version: require_match(request, version)
    )
    response.headers["etag"] = etag(changed.version)
    return WebhookShown(**_shown(changed, (await deps.webhooks.counts([id]))[id]))


@router.delete("/{id}", status_code=204, summary="Remove a webhook", openapi_extra=EDIT)
async def remove_webhook(request: Request, principal: Writer, id: Id) -> None:
    """Remove it, with If-Match; its log and its waiting events are deleted too."""
    await handlers.remove_webhook(deps_of(request), principal, id, lambda version: require_match(request, version))


@router.post("/{id}:rotate", summary="Rotate a webhook's secret")
async def rotate(request: Request, response: Response, principal: Writer, id: Id) -> WebhookMade:
    """Return a new secret, shown only once. For a day both secrets sign, so that the receiver can switch over."""
    changed = await handlers.rotate_secret(deps_of(request), principal, id)
    response.headers["etag"] = etag(changed.version)
    return WebhookMade(**_shown(changed), secret=changed.secrets[0].key)


@router.post("/{id}:test", summary="Test a webhook")
async def test(request: Request, principal: Writer, id: Id) -> TryShown:
    """Call it now with an event of type `webhook.test`, and return the result."""
    call = await handlers.try_webhook(deps_of(request), principal, id)
    answer = call.answer
    return TryShown(delivered=answer.is_ok, status=answer.status, error=answer.error, milliseconds=answer.milliseconds)


@router.post("/{id}:redeliver", summary="Send events again")
async def redeliver(request: Request, principal: Writer, id: Id, body: AgainBody) -> AgainShown:
    """Make given-up events of a time span due again at once, under their original ids; `delivered` includes delivered
    ones. Events are kept for 14 days, unless the installation says otherwise."""
    deps = deps_of(request)
    since, until = period(body.since, body.until, deps.clock())
    wanted = Again(since, until, body.delivered, body.events)
    return AgainShown(count=await handlers.tell_again(deps, principal, id, wanted))


@router.get("/{id}/attempts", summary="A webhook's log")
async def list_attempts(
    request: Request, principal: Reader, id: Id, limit: Limit = 100, cursor: After = None
) -> Page[AttemptShown]:
    """List calls, newest first, with their results."""
    deps = deps_of(request)
    await handlers.webhook_of(deps, principal, id)
    (before,) = read_cursor(cursor, UUID) or (None,)
    rows = await deps.webhooks.attempts(id, before, limit + 1)
    return page_of(rows, limit, _attempt, lambda row: (row["id"],))


def _attempt(row: Mapping[str, Any]) -> AttemptShown:
    names = [name for name in AttemptShown.model_fields if name != "event"]
    return AttemptShown(event=row["event_id"], **{name: row[name] for name in names})


def _wanted(body: WebhookBody) -> handlers.Wanted:
    return handlers.Wanted(body.url, tuple(dict.fromkeys(body.kinds)), body.note, body.enabled)


def _shown(webhook: Webhook, counts: tuple[int, int] = (0, 0)) -> dict[str, object]:
    names = ("id", "url", "note", "enabled", "version", "created_at", "changed_at", "disabled_for", "failing_since")
    return {
        **{name: getattr(webhook, name) for name in names},
        "kinds": list(webhook.kinds),
        "waiting": counts[0],
        "given_up": counts[1],
    }
