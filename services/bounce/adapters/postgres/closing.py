"""Mails' outcomes: for a mail by SMTP the fact that it made; any other outcome is written into the mail's row."""

from collections.abc import Collection, Sequence, Set
from typing import Any
from uuid import UUID

from libs.storage.arrays import columns
from services.bounce.ports import NewFact
from services.bounce.ports.mails import STATES, Closing

_END = "with ended as (delete from mail_waiting where id = any($1) returning id) select array_agg(id) from ended"
# `state < 1`, not `= 0`: through that index all that wait would be read
_WRITE = """
update mail set state = closing.state, outcome = closing.outcome, message = closing.message, again = false,
  attempts = attempts + 1,
  tenant = coalesce(mail.tenant, closing.tenant), mode = coalesce(mail.mode, closing.mode)
from unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::smallint[], $7::boolean[])
  as closing (id, state, outcome, message, tenant, mode, is_new)
where mail.id = closing.id and (mail.state < 1 or closing.is_new and mail.outcome is null)
"""


async def close_all(connection: Any, closing: Sequence[Closing]) -> None:
    """Close mails that made no fact about a message, within the caller's transaction; closed ones stay as they are."""
    if closing:
        ended = await _end_waiting(connection, [one.mail for one in closing])
        await _write(connection, closing, ended)


async def close_by_facts(connection: Any, facts: Sequence[NewFact], fresh: Sequence[NewFact]) -> set[UUID]:
    """Close the mails of facts; return those whose outcome is a fact of `fresh`, which the transaction is to add."""
    about = {fact.mail_id: fact for fact in facts if fact.mail_id and fact.message}
    if not about:
        return set()
    ended = await _end_waiting(connection, about)
    own = {fact.mail_id for fact in fresh if fact.mail_id and fact.message}
    others = [
        Closing(id_, "read", fact.fact.category, fact.message, (fact.tenant, fact.mode))
        for id_, fact in about.items()
        if not (id_ in ended and id_ in own)
    ]
    if others:
        await _write(connection, others, ended | own)
    return ended & own


async def _end_waiting(connection: Any, mails: Collection[UUID]) -> set[UUID]:
    """Return those that waited in `mail_waiting`; another transaction that ends the same ones waits for this one."""
    return set(await connection.fetchval(_END, sorted(mails)) or ())


async def _write(connection: Any, closing: Sequence[Closing], is_new: Set[UUID]) -> None:
    """Write outcomes into the rows of mails that wait there, and of those in `is_new` that have none yet."""
    rows = [
        (
            *(one.mail, STATES.index(one.state), one.outcome, one.message),
            *(one.owner or (None, None)),
            one.mail in is_new,
        )
        for one in sorted(closing, key=lambda one: one.mail)
    ]
    await connection.execute(_WRITE, *columns(rows))
