"""Every list with a cursor: its pages, joined, are the list, also where rows share a sort key and rows are added
meanwhile. The lists come from the OpenAPI document; a new one needs an entry in `pages.LISTS`.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from libs import credentials
from libs.contracts.outcomes import Mode
from libs.keyring import keyring_of
from libs.suite import SuiteSettings
from services.__main__ import build, create_app, running
from services.access.app import ensure_first
from services.bounce.adapters.postgres.webhooks import PURPOSE as WEBHOOK_SECRETS
from tests.compiled import compiled_rules
from tests.conftest import ROOT, by_role
from tests.flows.pages import A_PAGE, LISTS, TENANT, THING, Rows, World

PATHS = sorted(
    path
    for path, methods in json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"].items()
    if any(parameter.get("name") == "cursor" for parameter in methods.get("get", {}).get("parameters", ()))
)
ALL = 1_000
AT_FIRST, MEANWHILE = 13, 6


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    """The whole API over an empty database; nothing runs by itself."""
    compiled_rules()
    settings = SuiteSettings(data_dir=tmp_path, dsn=by_role(database))  # type: ignore[arg-type]
    keyring = keyring_of(tmp_path)
    services = build(settings, keyring)
    connection = await asyncpg.connect(database, server_settings={"timezone": "UTC"})
    try:
        async with running(services):
            found = credentials.read(await ensure_first(next(iter(services.values())).runtime))
            assert found is not None
            transport = httpx.ASGITransport(create_app(services, server=settings.url))
            async with httpx.AsyncClient(transport=transport, base_url="http://suite") as client:
                client.headers["authorization"] = f"Bearer {found.keys[Mode.LIVE]}"
                sealed = keyring.seal(WEBHOOK_SECRETS, b"[]", THING.bytes).hex()
                yield World(client, connection, found.keys, f"'\\x{sealed}'")
    finally:
        await connection.close()


def test_every_list_with_a_cursor_is_here() -> None:
    assert sorted(LISTS) == PATHS


@pytest.mark.parametrize("service", sorted({path.split("/")[1] for path in PATHS}))
async def test_the_pages_of_a_list_are_the_list_whatever_is_added_meanwhile(world: World, service: str) -> None:
    for path in (path for path in PATHS if path.startswith(f"/{service}/")):
        listed = LISTS[path]
        await world.own(*listed.owners)
        await world.add(listed, range(AT_FIRST))
        whole, _ = await world.page(path, listed, limit=ALL)
        assert len(set(whole)) == len(whole) >= AT_FIRST, path
        assert [item async for item in world.pages(path, listed)] == whole, path
        joined = []
        async for item in world.pages(path, listed):
            joined.append(item)
            if len(joined) == A_PAGE:
                await world.add(listed, range(AT_FIRST, AT_FIRST + MEANWHILE))
        assert len(set(joined)) == len(joined), path
        assert [item for item in joined if item in set(whole)] == whole, path


async def test_a_list_has_only_rows_of_the_keys_tenant_and_mode(world: World) -> None:
    await world.own(TENANT)
    for path in (path for path in PATHS if LISTS[path].shared is None and "{" not in path):
        listed = LISTS[path]
        await world.own(*listed.owners)
        before, _ = await world.page(path, listed, limit=ALL)
        for number, (tenant, mode) in enumerate(listed.strangers):
            if tenant == 1 or isinstance(listed.rows, Rows):
                await world.add(listed, [number], tenant, mode)
        after, _ = await world.page(path, listed, limit=ALL)
        assert after == before, path


@pytest.mark.parametrize(("tenant", "mode"), [(2, Mode.LIVE), (1, Mode.TEST)])
@pytest.mark.parametrize("path", [path for path in PATHS if LISTS[path].shared is None and "{" in path])
async def test_what_belongs_to_a_stranger_has_no_list(world: World, path: str, tenant: int, mode: Mode) -> None:
    listed = LISTS[path]
    for owner in listed.owners:
        await owner.add(world, [0], tenant, mode)
    await world.add(listed, [0], tenant, mode)
    answer = await world.http.get(path.format(id=THING, name=THING, key=f"customer:{THING}"))
    assert answer.status_code == 404, answer.text
