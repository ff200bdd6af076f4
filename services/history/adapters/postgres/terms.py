"""Words that come again and again, kept once and named by a number."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from libs.storage.database import Database

_ADD = "insert into term (word) select * from unnest($1::text[]) order by 1 on conflict (word) do nothing"
_FIND = "select word, id from term where word = any ($1::text[])"


@dataclass(slots=True)
class Terms:
    """Numbers are never changed or reused, so what is known stays known."""

    database: Database
    _known: dict[str, int] = field(default_factory=dict)

    async def ids(self, words: Iterable[str | None]) -> dict[str, int]:
        """The numbers of these words, and of all others known. Committed at once: a number must outlive a rollback."""
        missing = sorted({word for word in words if word is not None} - self._known.keys())
        if missing:
            async with self.database.acquire() as connection:
                await connection.execute(_ADD, missing)
                self._known |= {row["word"]: row["id"] for row in await connection.fetch(_FIND, missing)}
        return self._known
