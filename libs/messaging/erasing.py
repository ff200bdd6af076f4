"""Dead letters after an erasure: without what names the recipient, and as replayable as before for everybody else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from libs.contracts.envelope import Envelope, Event, UnknownEventType, decode, encode
from libs.contracts.erasing import nameless, recipients_of
from libs.contracts.tokens import RecipientErased
from libs.storage.database import Database
from libs.storage.erasures import Erased, erased_among, mark
from libs.telemetry import get_logger

log = get_logger(__name__)

_WORDS = "what it said was erased with its recipient"

# an erasure that failed is still to be carried out: its name goes once it was
_NAMING = f"""
select id, event_id, type, partition_key, subject, payload, reason from dead_letter
where tenant = $1 and mode = $2 and position($3::bytea in payload) > 0 and type <> '{RecipientErased.TYPE}'
order by id for update
"""  # noqa: S608 - our own type
_REWRITE = "update dead_letter set payload = $2, partition_key = $3, subject = $4, reason = $5 where id = $1"
_DROP = "delete from dead_letter where id = $1"


class Letter(NamedTuple):
    """What of a dead letter can name a person."""

    payload: bytes
    partition_key: str
    subject: str | None
    reason: str


async def without_letters(
    database: Database, handle: Callable[[Any], Awaitable[None]], batch: Sequence[Envelope]
) -> None:
    """Handle erasures in a service: of its dead letters first, then as it handles them itself."""
    erased = [(e.tenant, e.mode, e.data.recipient, e.data.at) for e in batch]
    await mark(database, erased)  # from now on, letters are buried nameless
    async with database.transaction() as connection:
        await erase_letters(connection, erased)
    await handle(batch)


async def erase_letters(connection: Any, erased: Sequence[Erased]) -> None:
    """Make the dead letters about these recipients nameless. One that cannot be read, and contains the key, goes."""
    changed = 0
    for tenant, mode, recipient, at in erased:
        for row in await connection.fetch(_NAMING, tenant, int(mode), msgspec.json.encode(recipient)):
            if (event := _read(row)) is None:
                await connection.execute(_DROP, row["id"])
            elif (letter := _nameless(row, event, {recipient: at}, row["reason"])) is not None:
                await connection.execute(_REWRITE, row["id"], *letter)
            else:
                continue
            changed += 1
    if changed:
        log.info("dead_letters_erased", count=changed)


async def buried(connection: Any, row: Any, reason: str) -> Letter:
    """Return a failed event as it may be stored: its recipients may have been erased while it was retried."""
    as_it_is = Letter(row["payload"], row["partition_key"], row["subject"], reason)
    if (event := _read(row)) is None:
        return as_it_is
    owners = ((row["tenant"], row["mode"], name) for name in recipients_of(event))
    found = await erased_among(connection, owners)
    erased = {owner[2]: at for owner, at in found.items()}
    return (_nameless(row, event, erased, reason) if erased else None) or as_it_is


def _read(row: Any) -> Event | None:
    try:
        event: Event = decode(row["type"], row["payload"])
    except (msgspec.DecodeError, UnknownEventType, UnicodeDecodeError):
        return None
    return event


def _nameless(row: Any, event: Event, erased: Mapping[str, datetime], reason: str) -> Letter | None:
    """Return what is left of it; None if nothing of it has to go."""
    rest = nameless(event, erased)
    if rest == event:
        return None
    key, subject = row["partition_key"], row["subject"]
    kind, colon, _ = reason.partition(":")  # the words after it are a handler's or a database's, and may quote anything
    return Letter(
        encode(rest),
        str(row["event_id"]) if key in erased else key,
        None if subject in erased else subject,
        f"{kind}: {_WORDS}" if colon else reason,
    )
