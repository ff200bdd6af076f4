"""What access can be asked: pages of tenants, topics and keys, and the look-ups of other services."""

from collections.abc import Sequence

from libs.auth import Principal
from libs.errors import NotFound
from services.access.domain import ApiKey, Tenant, Topic
from services.access.ports import Store


async def tenants(store: Store, principal: Principal, after: int, limit: int) -> Sequence[Tenant]:
    """All tenants for the operator; for anybody else, his own."""
    async with store.begin() as unit:
        if sees_all_tenants(principal):
            return await unit.tenants.page(after, limit)
        own = await unit.tenants.get(principal.tenant)
    return [own] if own and own.number > after else []


async def tenant(store: Store, principal: Principal, number: int) -> Tenant:
    """One tenant; raises NotFound, also for a tenant that the caller may not see."""
    async with store.begin() as unit:
        found = await unit.tenants.get(number)
    if found is None or not (number == principal.tenant or sees_all_tenants(principal)):
        raise NotFound(f"There is no tenant {number}; `depesche tenants list` names them.")
    return found


async def topics(store: Store, principal: Principal, after: str, limit: int) -> Sequence[Topic]:
    """The topics of the caller's tenant and mode."""
    async with store.begin() as unit:
        return await unit.topics.page(principal.tenant, principal.mode, after, limit)


async def topic(store: Store, principal: Principal, name: str) -> Topic:
    """One topic; raises NotFound."""
    async with store.begin() as unit:
        found = await unit.topics.get(principal.tenant, principal.mode, name)
    if found is None:
        raise NotFound(f"There is no topic {name!r}; `depesche topics list` names them.")
    return found


async def keys(store: Store, tenant_number: int, after: str, limit: int) -> Sequence[ApiKey]:
    """The keys of a tenant, of both modes."""
    async with store.begin() as unit:
        return await unit.keys.page(tenant_number, after, limit)


async def resolve(store: Store, principal: Principal, names: Sequence[str]) -> tuple[Tenant, Sequence[Topic]]:
    """What publishing asks: the caller's tenant, and those of the named topics that exist."""
    async with store.begin() as unit:
        own = await unit.tenants.get(principal.tenant)
        found = await unit.topics.named(principal.tenant, principal.mode, sorted(set(names)))
    if own is None:
        raise NotFound(f"There is no tenant {principal.tenant}.")
    return own, found


async def numbered(store: Store, numbers: Sequence[int]) -> Sequence[Tenant]:
    """Those of the tenants that exist."""
    async with store.begin() as unit:
        return await unit.tenants.numbered(sorted(set(numbers)))


def sees_all_tenants(principal: Principal) -> bool:
    """The operating tenant's administrators, and the suite's own services."""
    return administers_tenants(principal) or principal.actor.startswith("service:")


def administers_tenants(principal: Principal) -> bool:
    """Live keys of the operating tenant that have the scope."""
    return principal.operates and principal.may("tenants:admin")
