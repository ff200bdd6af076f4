"""Repeated words, stored once and referenced by number."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from libs.storage.database import Database

_ADD = "insert into term (word) select * from unnest($1::text[]) order by 1 on conflict (word) do nothing"
_FIND = "select word, id from term where word = any ($1::text[])"


@dataclass(slots=True)
class Terms:
    """Caches numbers; they are never changed or reused, so entries stay valid."""

    database: Database
    _known: dict[str, int] = field(default_factory=dict)

    async def ids(self, words: Iterable[str | None]) -> dict[str, int]:
        """Return the numbers of these words and all cached ones. Commits at once: a number must survive a rollback."""
        missing = sorted({word for word in words if word is not None} - self._known.keys())
        if missing:
            async with self.database.acquire() as connection:
                await connection.execute(_ADD, missing)
                self._known |= {row["word"]: row["id"] for row in await connection.fetch(_FIND, missing)}
        return self._known
