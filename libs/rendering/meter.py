"""How much work one render may do, counted so that it gives the same answer on every machine."""

import threading

from liquid.exceptions import ResourceLimitError

MAX_UNITS = 120_000  # a unit is about a microsecond


class Meter(threading.local):
    """What is left for the render that this thread is doing."""

    left: int = MAX_UNITS

    def start(self) -> None:
        self.left = MAX_UNITS

    def spend(self, units: int, on: str) -> None:
        """Raises ResourceLimitError when a template works too hard."""
        self.left -= units
        if self.left < 0:
            raise ResourceLimitError(
                f"the template works too hard: {on} go beyond {MAX_UNITS:,} steps; shorten the lists it walks through",
                token=None,
            )


METER = Meter()
