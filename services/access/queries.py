"""Reads of access: pages of tenants, topics and keys, and the lookups for other services."""

from collections.abc import Mapping, Sequence

from libs.auth import Principal
from libs.errors import NotFound
from libs.near import near
from services.access.domain import ApiKey, Tenant, Topic
from services.access.ports import Store

_COMPARED = 1_000  # topics with which an unknown name is compared


async def tenants(store: Store, principal: Principal, after: int, limit: int) -> Sequence[Tenant]:
    """Return all tenants for the operator, and only their own for everybody else."""
    async with store.begin() as unit:
        if sees_all_tenants(principal):
            return await unit.tenants.page(after, limit)
        own = await unit.tenants.get(principal.tenant)
    return [own] if own and own.number > after else []


async def tenant(store: Store, principal: Principal, number: int) -> Tenant:
    """Return one tenant. Raises NotFound, also for a tenant that the caller may not see."""
    async with store.begin() as unit:
        found = await unit.tenants.get(number)
    if found is None or not (number == principal.tenant or sees_all_tenants(principal)):
        raise NotFound(f"There is no tenant {number}; `depesche tenants list` lists them.")
    return found


async def topics(store: Store, principal: Principal, after: str, limit: int) -> Sequence[Topic]:
    """Return the topics of the caller's tenant and mode."""
    async with store.begin() as unit:
        return await unit.topics.page(principal.tenant, principal.mode, after, limit)


async def topic(store: Store, principal: Principal, name: str) -> Topic:
    """Return one topic. Raises NotFound."""
    async with store.begin() as unit:
        found = await unit.topics.get(principal.tenant, principal.mode, name)
    if found is None:
        raise NotFound(f"There is no topic {name!r}; `depesche topics list` lists them.")
    return found


async def keys(store: Store, tenant_number: int, after: str, limit: int) -> Sequence[ApiKey]:
    """Return the keys of a tenant, of both modes."""
    async with store.begin() as unit:
        return await unit.keys.page(tenant_number, after, limit)


async def resolve(
    store: Store, principal: Principal, names: Sequence[str]
) -> tuple[Tenant, Sequence[Topic], Mapping[str, Sequence[str]]]:
    """Return the caller's tenant, the named topics that exist, and for each other name the topics that resemble it."""
    async with store.begin() as unit:
        own = await unit.tenants.get(principal.tenant)
        found = await unit.topics.named(principal.tenant, principal.mode, sorted(set(names)))
        missing = sorted(set(names) - {topic.name for topic in found})
        known = await unit.topics.page(principal.tenant, principal.mode, "", _COMPARED) if missing else ()
    if own is None:
        raise NotFound(f"There is no tenant {principal.tenant}.")
    return own, found, {name: near(name, [topic.name for topic in known]) for name in missing}


async def numbered(store: Store, numbers: Sequence[int]) -> Sequence[Tenant]:
    """Return the tenants that exist."""
    async with store.begin() as unit:
        return await unit.tenants.numbered(sorted(set(numbers)))


def sees_all_tenants(principal: Principal) -> bool:
    """Whether it is an administrator of the operating tenant or one of the suite's own services."""
    return administers_tenants(principal) or principal.actor.startswith("service:")


def administers_tenants(principal: Principal) -> bool:
    """Whether it is a live key of the operating tenant with the scope."""
    return principal.operates and principal.may("tenants:admin")
