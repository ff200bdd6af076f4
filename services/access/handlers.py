"""The commands of access: create, change and end tenants, topics and keys; verify a presented key.

Each function is one transaction: the change, its event, and the audit action.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from libs.auth import SCOPES, Principal
from libs.clock import Clock
from libs.contracts.access import TenantChanged, TopicChanged
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from libs.ids import OPERATOR, TenantId
from services.access import domain
from services.access.domain import ApiKey, KeyText, Tenant, Topic
from services.access.ports import CredentialsFile, Store, Unit
from services.access.queries import administers_tenants

MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


@dataclass(frozen=True, slots=True)
class Access:
    """The handlers' dependencies. `random` returns that many random bytes."""

    store: Store
    clock: Clock
    random: Callable[[int], bytes]
    rotation_grace_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class NewKey:
    """A requested key."""

    tenant: TenantId
    mode: Mode
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key and, only this once, its text."""

    key: ApiKey
    text: KeyText


async def create_tenant(deps: Access, principal: Principal, wanted: Tenant) -> Tenant:
    """Create a tenant with the next number; its name must be free."""
    _operator_only(principal)
    async with deps.store.begin() as unit:
        await unit.tenants.lock()
        number = await unit.tenants.next_number()
        if number > domain.MAX_TENANTS:
            raise Conflict(f"There are already {domain.MAX_TENANTS} tenants, which is the limit.")
        tenant = replace(wanted, number=TenantId(number), version=1, changed_at=deps.clock())
        await _put_tenant(deps, unit, principal, None, tenant)
    return tenant


async def change_tenant(deps: Access, principal: Principal, wanted: Tenant, match: MatchVersion) -> Tenant:
    """Change name, default locale or zone of an existing tenant."""
    if wanted.number != principal.tenant:
        _operator_only(principal)
    if principal.mode is Mode.TEST:
        raise Forbidden("A tenant is one for both modes: a test key cannot change it; use a live one.")
    async with deps.store.begin() as unit:
        await unit.tenants.lock()  # nobody else takes the new name meanwhile
        before = await unit.tenants.get(wanted.number)
        if before is None:
            raise NotFound(f"There is no tenant {wanted.number}; `depesche tenants list` lists them.")
        match(before.version)
        tenant = replace(wanted, version=before.version + 1, changed_at=deps.clock())
        await _put_tenant(deps, unit, principal, before, tenant)
    return tenant


async def put_topic(deps: Access, principal: Principal, wanted: Topic, match: MatchVersion) -> tuple[Topic, bool]:
    """Create or change a topic; return it, and whether it is new. Its category is fixed: recorded consents depend on
    it."""
    async with deps.store.begin() as unit:
        before = await unit.topics.get(principal.tenant, principal.mode, wanted.name, lock=True)
        match(before.version if before else None)
        if before and before.category is not wanted.category:
            raise Conflict(
                f"The topic is {before.category.word}, and customers' consents depend on that. "
                "Create a topic with another name and set this one inactive.",
                pointer="/category",
            )
        version = before.version + 1 if before else 1
        topic = replace(wanted, version=version, changed_at=deps.clock())
        if not await unit.topics.put(principal.tenant, principal.mode, topic):
            raise Conflict("Somebody else created this topic at the same moment; read it and repeat your edit.")
        changed = TopicChanged(
            name=topic.name, category=topic.category.word, active=topic.active, version=topic.version
        )
        action = _action(deps, principal, "topic.put", topic.name, (_plain(before), _plain(topic)))
        await unit.emit(principal.tenant, principal.mode, [(topic.name, changed), (topic.name, action)])
    return topic, before is None


async def create_key(deps: Access, principal: Principal, wanted: NewKey) -> MadeKey:
    """Create a key. Nobody grants more than they have: no further scope, no other tenant, no live key
    from a test key."""
    _check_reach(principal, wanted)
    if wanted.expires_at is not None and wanted.expires_at <= deps.clock():
        raise Invalid("The expiry is in the past; give a later time.", pointer="/expires_at")
    async with deps.store.begin() as unit:
        if await unit.tenants.get(wanted.tenant) is None:
            raise Invalid(f"There is no tenant {wanted.tenant}.", pointer="/tenant")
        made = _make(deps, principal.actor, wanted)
        await _add_key(deps, unit, principal, made.key, "key.create")
    return made


async def rotate_key(deps: Access, principal: Principal, id_: str, grace_hours: float | None) -> MadeKey:
    """Create a new key like the old one, which keeps working for a while, so that callers can switch."""
    now = deps.clock()
    grace = timedelta(hours=deps.rotation_grace_hours if grace_hours is None else grace_hours)
    async with deps.store.begin() as unit:
        old = await _key_in_reach(unit, principal, id_)
        if (state := domain.state_of(old, now)) != "active":
            raise Conflict(f"The key {id_} is already {state}; create a new one with `depesche keys create`.")
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        wanted = NewKey(old.tenant, old.mode, old.name, old.scopes, now + lifetime if lifetime else None)
        _check_reach(principal, wanted)
        made = _make(deps, principal.actor, wanted, replaces=old.id)
        ends = min(now + grace, old.expires_at) if old.expires_at else now + grace
        await unit.keys.end(old.id, expires_at=ends, revoked_at=None)
        await _add_key(deps, unit, principal, made.key, "key.rotate")
    return made


async def revoke_key(deps: Access, principal: Principal, id_: str) -> ApiKey:
    """Revoke a key; other processes notice within five seconds. Revoking it again changes nothing."""
    now = deps.clock()
    async with deps.store.begin() as unit:
        key = await _key_in_reach(unit, principal, id_)
        if key.revoked_at is not None:
            return key
        await _keep_one_admin(unit, key, now)
        revoked = replace(key, revoked_at=now)
        await unit.keys.end(id_, expires_at=key.expires_at, revoked_at=now)
        action = _action(deps, principal, "key.revoke", id_, (_shown(key), _shown(revoked)))
        await unit.emit(key.tenant, key.mode, [(id_, action)])
    return revoked


async def _keep_one_admin(unit: Unit, key: ApiKey, now: datetime) -> None:
    if key.tenant != OPERATOR or key.mode is not Mode.LIVE or domain.ADMIN not in key.scopes:
        return
    # otherwise two concurrent revocations would each still see the other key
    await unit.tenants.lock()
    if not await unit.keys.other_admins(key, now):
        raise Conflict(
            "This is the last key that administers the installation; create another one with scope admin first."
        )


async def verify_key(deps: Access, presented: str) -> ApiKey:
    """Return the key that a caller presented to some service. Raises Unauthorized saying why it is not valid."""
    text = domain.parse_key(presented)
    if text is None:
        raise Unauthorized("This is not an API key; keys look like dp_live_<id>_<secret>.")
    now = deps.clock()
    async with deps.store.begin() as unit:
        key = await unit.keys.get(text.id)
        if (why := domain.refusal(key, text, now)) is not None or key is None:
            raise Unauthorized(why or "This API key is unknown.")
        if (moment := domain.used_at(key, now)) is not None:
            await unit.keys.used(key.id, moment)
    return key


async def ensure_first(deps: Access, file: CredentialsFile) -> bool:
    """Create tenant 1 and an administrator's key per mode if the credentials file has no valid keys yet.

    The file is written before the commit: a crash in between leaves keys that never worked, and the next start
    replaces them; the other order could lock everybody out. It is written at each start, because the URL may have
    changed. Returns whether a key was created."""
    system = Principal(OPERATOR, Mode.LIVE, "system", frozenset({domain.ADMIN}))
    async with deps.store.begin() as unit:
        await unit.tenants.lock()  # a second start finds the tenant, the keys and the file of the first
        held = file.keys()
        if await unit.tenants.get(OPERATOR) is None:
            first = Tenant(OPERATOR, "default", "en", "UTC", 1, deps.clock())
            await _put_tenant(deps, unit, system, None, first)
        wanted = [mode for mode in Mode if not await _opens(deps, unit, held.get(mode))]
        for mode in wanted:
            made = _make(deps, system.actor, NewKey(OPERATOR, mode, "depesche up", (domain.ADMIN,)))
            await _add_key(deps, unit, replace(system, mode=mode), made.key, "key.create")
            held[mode] = str(made.text)
        file.write(held)
    return bool(wanted)


async def _opens(deps: Access, unit: Unit, presented: str | None) -> bool:
    text = domain.parse_key(presented or "")
    return text is not None and domain.refusal(await unit.keys.get(text.id), text, deps.clock()) is None


def _make(deps: Access, actor: str, wanted: NewKey, *, replaces: str | None = None) -> MadeKey:
    text = domain.key_text(wanted.mode, deps.random(domain.ID_BYTES), deps.random(domain.SECRET_BYTES))
    key = ApiKey(
        id=text.id,
        tenant=wanted.tenant,
        mode=wanted.mode,
        name=wanted.name,
        scopes=tuple(sorted(set(wanted.scopes))),
        secret_hash=domain.secret_hash(text.secret),
        created_at=deps.clock(),
        created_by=actor,
        expires_at=wanted.expires_at,
        replaces=replaces,
    )
    return MadeKey(key, text)


def _check_reach(principal: Principal, wanted: NewKey) -> None:
    if wanted.tenant != principal.tenant:
        _operator_only(principal)
    if wanted.mode is Mode.LIVE and principal.mode is Mode.TEST:
        raise Forbidden("A test key cannot create a live key; use a live one.")
    if unknown := sorted(set(wanted.scopes) - SCOPES.keys()):
        raise Invalid(f"There is no scope {unknown[0]!r}; use one of: {', '.join(SCOPES)}.", pointer="/scopes")
    if missing := domain.beyond(principal.scopes, wanted.scopes):
        raise Forbidden(f"You cannot grant scopes that your key lacks: {', '.join(missing)}.")


def _operator_only(principal: Principal) -> None:
    if not administers_tenants(principal):
        raise Forbidden(
            f"Administering other tenants needs a live key of tenant {OPERATOR} with the scope tenants:admin."
        )


async def _key_in_reach(unit: Unit, principal: Principal, id_: str) -> ApiKey:
    key = await unit.keys.get(id_, lock=True)
    if key is not None and key.tenant != principal.tenant and not administers_tenants(principal):
        key = None  # another tenant's keys do not exist for this caller
    if key is None:
        raise NotFound(f"There is no key {id_}; `depesche keys list` lists them.")
    if key.mode is Mode.LIVE and principal.mode is Mode.TEST:
        raise Forbidden("A test key cannot revoke or rotate a live key; use a live one.")
    return key


async def _put_tenant(deps: Access, unit: Unit, principal: Principal, before: Tenant | None, tenant: Tenant) -> None:
    namesake = await unit.tenants.named(tenant.name)
    if namesake is not None and namesake.number != tenant.number:
        raise Conflict(f"Tenant {namesake.number} already has the name {tenant.name!r}.", pointer="/name")
    await unit.tenants.put(tenant)
    changed = TenantChanged(
        number=tenant.number, name=tenant.name, default_locale=tenant.default_locale, version=tenant.version
    )
    verb = "tenant.change" if before else "tenant.create"
    action = _action(deps, principal, verb, str(tenant.number), (_plain(before), _plain(tenant)))
    # a tenant has no mode; events about both modes travel as live
    await unit.emit(tenant.number, Mode.LIVE, [(str(tenant.number), changed), (str(tenant.number), action)])


async def _add_key(deps: Access, unit: Unit, principal: Principal, key: ApiKey, verb: str) -> None:
    await unit.keys.add(key)
    action = _action(deps, principal, verb, key.id, (None, _shown(key)))
    await unit.emit(key.tenant, key.mode, [(key.id, action)])


def _action(deps: Access, principal: Principal, verb: str, of: str, change: tuple[Any, Any]) -> ActionRecorded:
    before, after = change
    return ActionRecorded(actor=principal.actor, action=verb, object=of, at=deps.clock(), before=before, after=after)


def _plain(thing: Tenant | Topic | None) -> dict[str, Any] | None:
    if thing is None:
        return None
    plain = asdict(thing)
    if isinstance(thing, Topic):
        plain["category"] = thing.category.word
    return plain


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = asdict(key)
    del shown["secret_hash"]
    return shown | {"mode": key.mode.word}


# access consumes no events; it only answers queries
SUBSCRIPTIONS: dict[type, Any] = {}
