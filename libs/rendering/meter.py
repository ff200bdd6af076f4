"""The work limit of one render, counted so that it gives the same result on every machine."""

import threading

from liquid.exceptions import ResourceLimitError

MAX_UNITS = 120_000  # a unit is about a microsecond


class Meter(threading.local):
    """The units left for the render that this thread is doing."""

    left: int = MAX_UNITS

    def start(self) -> None:
        self.left = MAX_UNITS

    def spend(self, units: int, on: str) -> None:
        """Spend units. Raises ResourceLimitError if a template works too hard."""
        self.left -= units
        if self.left < 0:
            raise ResourceLimitError(
                f"the template does too much work: {on} exceed {MAX_UNITS:,} steps; shorten the lists in its loops",
                token=None,
            )


METER = Meter()
