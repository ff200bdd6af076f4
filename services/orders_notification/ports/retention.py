"""Retention: partitions are created ahead, old ones dropped."""

from typing import Protocol


class Retention(Protocol):
    """The event table's partitions, one per day."""

    async def ensure_days(self) -> None:
        """Create the partitions of today and the coming days; at start, before the first event."""
        ...

    async def maintain(self) -> list[str]:
        """Create the coming days' partitions, drop the old ones; return the days dropped."""
        ...
