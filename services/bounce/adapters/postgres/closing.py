"""Mails' outcomes: for a mail by SMTP the fact that it made; any other outcome is written into the mail's row."""

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from libs.contracts.erasing import Owner, is_gone
from libs.ids import parse_message_id, time_of
from libs.storage.arrays import columns
from libs.storage.erasures import erased_among
from services.bounce.ports import NewFact
from services.bounce.ports.mails import STATES, Closing

_END = "with ended as (delete from mail_waiting where id = any($1) returning id) select array_agg(id) from ended"
# `state < 1`, not `= 0`: through that index all that wait would be read
_WRITE = """
update mail set state = closing.state, outcome = closing.outcome, message = closing.message, again = false,
  attempts = attempts + 1, about = closing.about, raw = case when closing.erased then null else mail.raw end,
  tenant = coalesce(mail.tenant, closing.tenant), mode = coalesce(mail.mode, closing.mode)
from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::text[],
  $8::boolean[], $9::boolean[]) as closing (id, state, outcome, message, tenant, mode, about, erased, waited)
where mail.id = closing.id and (mail.state < 1 or closing.waited)
"""


async def close_all(connection: Any, closing: Sequence[Closing]) -> None:
    """Close mails that made no fact about a message, in the caller's transaction; closed ones stay as they are. Those
    about somebody who was erased lose their bytes. Must come before the transaction's writes."""
    gone = await erased_among(connection, (owner for one in closing if (owner := _owner(one))))
    ended = [_without_erased(one, gone) for one in closing]
    await _write(connection, ended, await _end_waiting(connection, [one.mail for one in closing]))


async def close_by_facts(connection: Any, facts: Sequence[NewFact], fresh: Sequence[NewFact]) -> set[UUID]:
    """Close the mails of facts, of which the transaction adds those in `fresh`. Return the mails that waited beside
    their row: a fresh fact about a message is the outcome of such a mail."""
    about = {fact.mail_id: fact for fact in facts if fact.mail_id and fact.message}
    if not about:
        return set()
    ended = await _end_waiting(connection, about)
    told = ended & {fact.mail_id for fact in fresh if fact.mail_id and fact.message}
    others = [
        Closing(id_, "read", fact.fact.category, fact.message, (fact.tenant, fact.mode))
        for id_, fact in about.items()
        if id_ not in told
    ]
    if others:
        await _write(connection, others, ended)
    return ended


async def _end_waiting(connection: Any, mails: Collection[UUID]) -> set[UUID]:
    """Return those that waited in `mail_waiting`; another transaction that ends the same ones waits for this one."""
    return set(await connection.fetchval(_END, sorted(mails)) or ())


async def _write(connection: Any, closing: Sequence[Closing], waited: Set[UUID]) -> None:
    """Write outcomes into the rows of mails in `waited`, and of those that wait there."""
    rows = [
        (
            *(one.mail, STATES.index(one.state), one.outcome, one.message),
            *(one.owner or (None, None)),
            *(one.about, one.erased, one.mail in waited),
        )
        for one in sorted(closing, key=lambda one: one.mail)
    ]
    await connection.execute(_WRITE, *columns(rows))


def _owner(closing: Closing) -> Owner | None:
    owner = closing.owner
    return (owner[0], int(owner[1]), closing.about) if owner and closing.about else None


def _without_erased(one: Closing, gone: Mapping[Owner, datetime]) -> Closing:
    if one.message is None or not is_gone(gone, _owner(one), time_of(parse_message_id(one.message)[0])):
        return one
    return replace(one, about=None, erased=True)
