"""Making room: partitions ahead of time, old ones dropped."""

from typing import Protocol


class Retention(Protocol):
    """The event table's days."""

    async def ensure_days(self) -> None:
        """Makes the partitions of today and the coming days; at start, before the first event."""
        ...

    async def maintain(self) -> list[str]:
        """Makes the coming days' partitions, drops what is too old; gives the days dropped."""
        ...
