"""Releases: compiled in memory, bundles in our own table, fetched once from `orders-notification`."""

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from libs import exact_json
from libs.contracts.outcomes import Channel, Mode
from libs.errors import DepescheError, Invalid
from libs.rendering import CompiledRelease, compile_release
from libs.service_client import ServiceClient
from libs.storage.database import Database
from libs.telemetry import get_logger
from services.delivery.domain.releases import PlannedChannel, Release, Step, Unusable

log = get_logger(__name__)

_COMPILED = 512
_ASK_AGAIN_SECONDS = 1.0

_LOAD = "select id, bundle from release where id = any($1::uuid[]) and bundle is not null"
# what `release.published` said stands: retired stays retired
_KEEP = """
insert into release as r (id, tenant, mode, communication, version, digest, active, steps, bundle, fetched_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
on conflict (id) do update set active = r.active and excluded.active, steps = excluded.steps,
  bundle = excluded.bundle, fetched_at = excluded.fetched_at
"""


@dataclass(slots=True)
class CachedReleases:
    """A release never changes under its id, so compiled ones are cached; the least recently used are evicted first."""

    database: Database
    client: ServiceClient
    _compiled: OrderedDict[UUID, Release] = field(default_factory=OrderedDict)
    _missing: dict[UUID, tuple[float, Unusable]] = field(default_factory=dict)

    async def get(self, wanted: Collection[tuple[UUID, int, Mode]]) -> Mapping[UUID, Release | Unusable]:
        """Return releases by id; those that are unavailable now say why."""
        found: dict[UUID, Release | Unusable] = {}
        unknown: list[tuple[UUID, int, Mode]] = []
        for id_, tenant, mode in wanted:
            if (release := self._compiled.get(id_)) is not None:
                self._compiled.move_to_end(id_)
                found[id_] = release
            elif (missing := self._missing.get(id_)) is not None and missing[0] > time.monotonic():
                found[id_] = missing[1]
            else:
                unknown.append((id_, tenant, mode))
        if unknown:
            found |= await self._load(unknown)
        return found

    async def _load(self, wanted: list[tuple[UUID, int, Mode]]) -> dict[UUID, Release | Unusable]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch(_LOAD, [id_ for id_, _, _ in wanted])
        bundles = {row[0]: exact_json.loads(row[1]) for row in rows}
        found: dict[UUID, Release | Unusable] = {}
        for id_, tenant, mode in wanted:
            try:
                bundle = bundles.get(id_) or await self._fetch(id_, tenant, mode)
                release = compiled(bundle, tenant, mode)
            except DepescheError as error:
                found[id_] = Unusable(error.detail)
                self._missing[id_] = (time.monotonic() + _ASK_AGAIN_SECONDS, Unusable(error.detail))
                continue
            self._missing.pop(id_, None)
            found[id_] = self._compiled[id_] = release
        while len(self._compiled) > _COMPILED:
            self._compiled.popitem(last=False)
        return found

    async def _fetch(self, id_: UUID, tenant: int, mode: Mode) -> Any:
        bundle = await self.client.get(f"/v1/releases/{id_}", tenant=tenant, mode=mode)
        async with self.database.acquire() as connection:
            await connection.execute(
                _KEEP,
                id_,
                tenant,
                int(mode),
                bundle["communication"],
                bundle["version"],
                bundle["digest"],
                bundle.get("active", True),
                len(bundle["plan"]),
                exact_json.dumps(bundle),
            )
        return bundle


def compiled(bundle: Any, tenant: int, mode: Mode) -> Release:
    """Compile a bundle for sending. Raises Invalid if it is not in a form that we can send."""
    texts = compile_release(bundle)
    try:
        plan = [_step(step, texts) for step in bundle["plan"]]
        return Release(
            id=UUID(str(bundle["id"])),
            tenant=tenant,
            mode=mode,
            communication=bundle["communication"],
            version=bundle["version"],
            marketing=bundle["category"] == "marketing",
            topic=bundle.get("topic"),
            obeys_quiet_hours=bundle.get("quiet_hours") == "obey",
            default_locale=bundle["default_locale"],
            default_zone=bundle.get("default_zone"),
            plan=plan,
            channels=tuple(sorted({planned.channel.word for step in plan for planned in step.channels})),
        )
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise Invalid(f"The release's bundle has an unsupported format: {error!r}") from error


def _step(step: Any, texts: CompiledRelease) -> Step:
    channels = [
        PlannedChannel(Channel(Channel.parse(use["channel"])), texts.texts(use["template"]), use.get("sender") or 0)
        for use in step["channels"]
    ]
    return Step(step.get("mode", "all") == "all", channels)
