"""The rules in force: the shipped ones, compiled when they are first needed, off the event loop."""

import asyncio
from pathlib import Path

from services.bounce.adapters.engines import compiled
from services.bounce.adapters.shipped_rules import shipped
from services.bounce.domain.classifier import Classifier


def shipped_classifier(cache: Path | None = None) -> Classifier:
    """A classifier by the shipped rules; takes seconds the first time. `cache`: the folder of compiled databases."""
    rules, providers = shipped()
    return Classifier(rules, compiled(rules, cache), providers)


class ShippedRulebook:
    """Compiles once, however many ask at the same time."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._one = asyncio.Lock()
        self._ready: Classifier | None = None

    async def current(self) -> Classifier:
        if self._ready is None:
            async with self._one:
                if self._ready is None:
                    self._ready = await asyncio.to_thread(shipped_classifier, self._cache)
        return self._ready
