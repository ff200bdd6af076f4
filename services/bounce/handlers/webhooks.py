"""People's work on webhooks: create, change, rotate a secret, test, redeliver, remove."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs import exact_json, standard_webhooks
from libs.addresses import webhook_url
from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.errors import Conflict, NotFound, PreconditionFailed
from libs.ids import uuid7
from services.bounce.domain.webhooks import TEST_KIND, Call, Secret, Told, Webhook
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.telling import call_once
from services.bounce.ports.webhooks import Again

MOST = 20  # per tenant and mode


@dataclass(frozen=True, slots=True)
class Wanted:
    """A webhook as its author wants it."""

    url: str
    kinds: tuple[str, ...]
    note: str
    enabled: bool


MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


async def make_webhook(deps: Bounce, principal: Principal, wanted: Wanted) -> Webhook:
    """Create one with its own secret. Raises InvalidAddress, Conflict if there are too many."""
    now = deps.clock()
    if len(await deps.webhooks.all((principal.tenant, principal.mode))) >= MOST:
        raise Conflict(f"There are {MOST} webhooks already; remove one that nobody needs.")
    made = Webhook(
        id=uuid7(),
        tenant=principal.tenant,
        mode=principal.mode,
        url=_url(deps, wanted.url),
        kinds=wanted.kinds,
        note=wanted.note,
        secrets=(Secret(standard_webhooks.new_secret()),),
        enabled=wanted.enabled,
        version=1,
        created_at=now,
        changed_at=now,
    )
    await deps.webhooks.put(made, _action(principal, "webhook.make", None, made), 0)
    return made


async def change_webhook(deps: Bounce, principal: Principal, id: UUID, wanted: Wanted, match: MatchVersion) -> Webhook:
    """Return the webhook after the edit; one that was disabled because it failed is tried again."""
    current = await webhook_of(deps, principal, id)
    match(current.version)
    edited = replace(current, url=_url(deps, wanted.url), kinds=wanted.kinds, note=wanted.note, enabled=wanted.enabled)
    return await _put(deps, principal, "webhook.change", (current, edited))


async def rotate_secret(deps: Bounce, principal: Principal, id: UUID) -> Webhook:
    """Create a new secret; the previous one still signs beside it for a time."""
    current = await webhook_of(deps, principal, id)
    until = deps.clock() + timedelta(hours=deps.settings.webhook_overlap_hours)
    secrets = (Secret(standard_webhooks.new_secret()), replace(current.secrets[0], until=until))
    return await _put(deps, principal, "webhook.rotate", (current, replace(current, secrets=secrets)))


async def remove_webhook(deps: Bounce, principal: Principal, id: UUID, match: MatchVersion) -> None:
    """Remove it with its log and its waiting events."""
    current = await webhook_of(deps, principal, id)
    match(current.version)
    if not await deps.webhooks.delete(current, _action(principal, "webhook.remove", current, None)):
        raise _changed()


async def try_webhook(deps: Bounce, principal: Principal, id: UUID) -> Call:
    """Call it once with a test event, whether it is enabled or not."""
    webhook = await webhook_of(deps, principal, id)
    body = exact_json.dumps({"type": TEST_KIND, "timestamp": deps.clock(), "data": {"webhook": webhook.id}})
    call = await call_once(deps, webhook, Told(uuid7(), TEST_KIND, body))
    tried = ActionRecorded(
        actor=principal.actor,
        action="webhook.test",
        object=str(webhook.id),
        at=call.at,
        after={"status": call.answer.status, "error": call.answer.error},
    )
    await deps.telling.log(webhook, call, tried)
    return call


async def tell_again(deps: Bounce, principal: Principal, id: UUID, wanted: Again) -> int:
    """Make events due again; return how many."""
    webhook = await webhook_of(deps, principal, id)
    asked = {
        "since": wanted.since.isoformat(),
        "until": wanted.until.isoformat(),
        "delivered": wanted.delivered,
        "events": len(wanted.events),
    }
    action = ActionRecorded(
        actor=principal.actor, action="webhook.redeliver", object=str(webhook.id), at=deps.clock(), after=asked
    )
    return await deps.telling.again(webhook, wanted, action)


async def webhook_of(deps: Bounce, principal: Principal, id: UUID) -> Webhook:
    """Raises NotFound."""
    found = await deps.webhooks.get((principal.tenant, principal.mode), id)
    if found is None:
        raise NotFound(f"There is no webhook {id}; `depesche bounce webhooks list` lists them.")
    return found


async def _put(deps: Bounce, principal: Principal, what: str, edit: tuple[Webhook, Webhook]) -> Webhook:
    current, wanted = edit
    changed = replace(
        wanted,
        version=current.version + 1,
        changed_at=deps.clock(),
        disabled_for=None,
        failures=0,
        failing_since=None,
    )
    if not await deps.webhooks.put(changed, _action(principal, what, current, changed), current.version):
        raise _changed()
    return changed


def _changed() -> PreconditionFailed:
    return PreconditionFailed("It was changed in the meantime. Read it, and apply your edit again.")


def _url(deps: Bounce, url: str) -> str:
    return webhook_url(url, allow_private=deps.settings.webhook_allow_private, pointer="/url").value


def _action(principal: Principal, what: str, before: Webhook | None, after: Webhook | None) -> ActionRecorded:
    one = after or before
    assert one is not None
    return ActionRecorded(
        actor=principal.actor,
        action=what,
        object=str(one.id),
        at=one.changed_at,
        before=_shown(before),
        after=_shown(after),
    )


def _shown(webhook: Webhook | None) -> dict[str, Any] | None:
    """Return the webhook without its secrets; the part of the URL that may carry one is left out."""
    if webhook is None:
        return None
    return {
        "url": webhook.url.partition("?")[0],
        "kinds": list(webhook.kinds),
        "enabled": webhook.enabled,
        "version": webhook.version,
    }
