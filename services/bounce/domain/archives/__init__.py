"""Many mails in one file, parsed while it arrives: never whole in memory, and bounded for any input."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from services.bounce.domain.archives.mbox import Mbox
from services.bounce.domain.archives.parts import Bounds, Found, Refused, Unreadable
from services.bounce.domain.archives.zips import Zip

__all__ = ["READERS", "Archive", "Bounds", "Found", "Refused", "Unreadable"]


class Archive(Protocol):
    """Bytes in, mails out, in order. Both methods raise Unreadable if nothing can be found from there on."""

    def feed(self, piece: bytes) -> Iterator[Found | Refused]: ...

    def finish(self) -> Iterator[Found | Refused]: ...


READERS: Mapping[str, Callable[[Bounds], Archive]] = {
    "application/zip": Zip,
    "application/x-zip-compressed": Zip,
    "application/mbox": Mbox,
    "application/x-mbox": Mbox,
}
