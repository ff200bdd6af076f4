"""Many mails at once: read from an archive while it arrives, stored in batches, with a verdict on each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from libs.contracts.outcomes import Mode
from services.bounce.domain.archives import Archive, Found, Refused, Unreadable
from services.bounce.domain.arrival import arrived_at
from services.bounce.handlers.deps import Bounce
from services.bounce.ports.mails import NewMail

_BATCH_MAILS = 500
_BATCH_BYTES = 4 << 20

KEPT, DUPLICATE, REFUSED = "kept", "duplicate", "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one mail of an archive. `id`: of the stored one, or of the one that existed before."""

    name: str
    result: str
    id: str | None = None
    reason: str | None = None


Tell = Callable[[Sequence[Verdict]], None]


async def import_mails(
    deps: Bounce, owner: tuple[int, Mode], archive: Archive, pieces: AsyncIterator[bytes], tell: Tell
) -> str | None:
    """Store the mails in the pieces; the reader's loop makes facts of them. Return why it ended early, if it did.

    `tell` gets the verdicts in the archive's order. Stored mails stay, whatever happens after them: when the same
    archive is sent again, they are duplicates.
    """
    batch, problem = _Batch(), None

    async def keep(more: Iterator[Found | Refused]) -> None:
        while await asyncio.to_thread(batch.fill, more):
            tell(await _stored(deps, owner, batch.emptied()))

    try:
        async for piece in pieces:
            await keep(archive.feed(piece))
        await keep(archive.finish())
    except Unreadable as error:
        problem = str(error)
    tell(await _stored(deps, owner, batch.emptied()))
    return problem


@dataclass(slots=True)
class _Batch:
    found: list[Found | Refused] = field(default_factory=list)
    bytes: int = 0

    def fill(self, more: Iterator[Found | Refused]) -> bool:
        """Take mails until the batch is full; return false at the end. Unpacks, so call it in a thread."""
        for one in more:
            self.found.append(one)
            self.bytes += len(one.raw) if isinstance(one, Found) else 0
            if len(self.found) >= _BATCH_MAILS or self.bytes >= _BATCH_BYTES:
                return True
        return False

    def emptied(self) -> list[Found | Refused]:
        found, self.found, self.bytes = self.found, [], 0
        return found


async def _stored(deps: Bounce, owner: tuple[int, Mode], found: Sequence[Found | Refused]) -> list[Verdict]:
    now = deps.clock()
    mails = await asyncio.to_thread(_mails, found, owner, now)
    kept = iter(await deps.mails.keep(mails) if mails else [])
    verdicts = []
    for one in found:
        if isinstance(one, Refused):
            verdicts.append(Verdict(one.name, REFUSED, reason=one.reason))
        else:
            this = next(kept)
            verdicts.append(Verdict(one.name, KEPT if this.is_new else DUPLICATE, str(this.mail.id)))
    return verdicts


def _mails(found: Sequence[Found | Refused], owner: tuple[int, Mode], now: datetime) -> list[NewMail]:
    return [NewMail("", one.raw, arrived_at(one.raw, now), owner) for one in found if isinstance(one, Found)]
