"""The rules in force: the shipped ones with the published ones, compiled off the event loop.

A caller checks for a newer set once a second at most; the new set is prepared while the old one keeps answering, and
takes over in one assignment.
"""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from time import monotonic

from prometheus_client import Gauge

from libs.clock import Clock
from libs.errors import Transient
from libs.telemetry import get_logger
from services.bounce.adapters.engines import compiled, compiled_beside
from services.bounce.adapters.engines.composite import CompositeScan
from services.bounce.adapters.model_file import model_of
from services.bounce.adapters.shipped_rules import shipped, shipped_parts
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.model import Model
from services.bounce.domain.rules.assembling import Shipped, assemble
from services.bounce.domain.rules.entries import Published
from services.bounce.domain.rules.ruleset import RuleSet, Scan
from services.bounce.ports.rules import RuleSetRecord, RuleSets, UnfitPattern

_LOOK_SECONDS = 1.0
_WAIT_SECONDS = 0.25  # callers wait this long for a small set; a large one is ready for a later batch
_SETTLED_SECONDS = 20.0  # several publications often follow one another

_MOST_PARTS = 6  # passes over one text; beyond that the published rules are compiled together

_in_force = Gauge(
    "depesche_bounce_rule_set",
    "Number of the rule set in force; the lowest of all processes",
    multiprocess_mode="livemin",
)

log = get_logger(__name__)


def shipped_classifier(cache: Path | None = None, model: str = "shipped") -> Classifier:
    """Return a classifier by the shipped rules; takes seconds the first time. `cache`: the folder of compiled
    databases. `model`: `shipped`, `off`, or the path of a trained model."""
    rules, providers = shipped()
    return Classifier(rules, compiled(rules, cache), providers, model_of(model))


class PublishedRulebook:
    """Compiles each set once, however many callers ask for it at the same time."""

    def __init__(self, cache: Path, sets: RuleSets, clock: Clock, model: str) -> None:
        self._cache = cache
        self._sets = sets
        self._clock = clock
        self._model = model
        self._one = asyncio.Lock()
        self._ready: Classifier | None = None
        self._number = -1
        self._looked = self._since = 0.0
        self._taking: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None

    @property
    def shipped(self) -> Shipped:
        return shipped_parts()

    async def current(self) -> Classifier:
        if self._ready is None:
            await self._take_newest()
        elif monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = monotonic()
            await self._look()
        assert self._ready is not None  # set 0 always exists
        return self._ready

    async def refresh(self) -> None:
        try:
            await self._take_newest()
        except Transient as error:
            log.warning("rule_set_not_looked_for", error=error.detail)  # the old one stays in use

    async def prepare(self, entries: Sequence[Published]) -> Classifier:
        return await asyncio.to_thread(self._made, entries, await self.current())

    async def _look(self) -> None:
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self.refresh())
            self._taking.add_done_callback(_told)
            await asyncio.wait({self._taking}, timeout=_WAIT_SECONDS)
        settled = monotonic() - self._since >= _SETTLED_SECONDS
        idle = self._joining is None or self._joining.done()
        if settled and idle and self._ready and isinstance(self._ready.scan, CompositeScan):
            self._joining = asyncio.create_task(self._join(self._ready))
            self._joining.add_done_callback(_told)

    async def _take_newest(self) -> None:
        async with self._one:
            self._looked = monotonic()
            if (record := await self._sets.newest(self._number)) is not None:
                await self._take(record)

    async def _take(self, record: RuleSetRecord) -> None:
        made = await asyncio.to_thread(self._made_of_fit, record.rules)
        # before the first fact carries it: an undo finds facts by their digest
        await self._sets.note_digest(record.number, made.rules.digest, self._clock())
        self._ready, self._number, self._since = made, record.number, monotonic()
        _in_force.set(record.number)
        log.info("rule_set_in_force", rule_set=record.number)

    async def _join(self, old: Classifier) -> None:
        """Replace several databases by one."""
        scan = await asyncio.to_thread(compiled, old.rules, self._cache)
        if self._ready is old:
            self._ready = Classifier(old.rules, scan, old.providers, old.model)

    def _made_of_fit(self, entries: Sequence[Published]) -> Classifier:
        """Leave out rules that this engine cannot compile: another one accepted them when they were published."""
        try:
            return self._made(entries, self._ready)
        except UnfitPattern as error:
            fit = [entry for entry in entries if not _has(entry, error.pattern)]
            if len(fit) == len(entries):
                raise
            log.error("rule_not_understood", rule=repr(error.pattern), error=error.why)
            return self._made_of_fit(fit)

    def _made(self, entries: Sequence[Published], beside: Classifier | None) -> Classifier:
        rules, problems, _ = assemble(self.shipped, entries)
        for id_, found in problems.items():
            log.error("rule_left_out", rule=id_, error="; ".join(map(str, found)))
        few = beside is not None and len(getattr(beside.scan, "parts", ())) < _MOST_PARTS
        base = (beside.rules, beside.scan) if beside and few else self._base
        scan = compiled_beside(rules, base, self._cache)
        return Classifier(rules, scan, self.shipped.providers, self._guesses)

    @cached_property
    def _guesses(self) -> Model | None:
        return model_of(self._model)

    @cached_property
    def _base(self) -> tuple[RuleSet, Scan]:
        rules = self.shipped.rule_set
        return rules, compiled(rules, self._cache)


def _told(task: asyncio.Task[None]) -> None:
    """Report a failed takeover, which leaves the old set in force."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("rule_set_not_in_force", exc_info=error)


def _has(entry: Published, pattern: bytes) -> bool:
    listed = entry.document.get("regex") or ()
    return pattern.decode() in (listed if isinstance(listed, list | tuple) else (listed,))
