"""Erasure: removes names and words from everything stored about a recipient, and from facts that arrive late."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from libs.contracts.erasing import is_gone
from libs.ids import parse_message_id, time_of
from libs.storage.arrays import columns
from libs.storage.erasures import Erased, erased_among, remember
from services.bounce.ports import NewFact

_NAMED = "(tenant, mode, recipient) in (select * from unnest($1::smallint[], $2::smallint[], $3::text[]))"
_FORGET = (
    f"""delete from mail where id in (select mail_id from bounce where {_NAMED})
          or message in (select message from bounce where {_NAMED} and message is not null)""",  # noqa: S608 - our own
    """update mail m set raw = null, about = null from unnest($1::smallint[], $2::smallint[], $3::text[])
         as gone (tenant, mode, recipient)
       where m.about = gone.recipient and m.tenant = gone.tenant and m.mode = gone.mode""",
    f"update bounce set recipient = null, text = null, template = null where {_NAMED}",  # noqa: S608 - our own statement
    f"update suppression set recipient = null, note = null where {_NAMED}",  # noqa: S608 - our own statement
    """delete from webhook_event e using webhook w, unnest($1::smallint[], $2::smallint[], $3::text[])
         as gone (tenant, mode, recipient)
       where e.recipient = gone.recipient and w.id = e.webhook_id and w.tenant = gone.tenant and w.mode = gone.mode""",
    f"update parked set recipient = null, note = null where {_NAMED}",  # noqa: S608 - our own statement
)
_WIPE_MAILS = "update mail set raw = null where id = any($1::uuid[])"  # the row says that it was received


async def forget(connection: Any, erased: Sequence[Erased]) -> None:
    """Remember the erasures and wipe what is stored; hashes of addresses stay, so that suppressions hold."""
    await remember(connection, erased)
    owners = sorted({(tenant, mode, recipient) for tenant, mode, recipient, _ in erased})
    for statement in _FORGET:
        await connection.execute(statement, *columns(owners))


async def without_erased_names(connection: Any, facts: Sequence[NewFact]) -> list[NewFact]:
    """Return the facts, nameless and wordless if about a message from before their recipient's erasure; also wipe the
    mails that brought those. Must come before the transaction's writes."""
    gone = await erased_among(connection, ((f.tenant, int(f.mode), f.recipient) for f in facts if f.recipient))
    if not gone and not any(fact.erased for fact in facts):
        return list(facts)
    made, mails = [], []
    for fact in facts:
        whose = fact.tenant, int(fact.mode), fact.recipient or ""
        if fact.erased or is_gone(gone, whose, _sent_at(fact)):
            made.append(msgspec.structs.replace(fact, recipient=None, fact=fact.fact._replace(text="")))
            mails.append(fact.mail_id)
        else:
            made.append(fact)  # the recipient has come back since
    await connection.execute(_WIPE_MAILS, [id_ for id_ in mails if id_])
    return made


def _sent_at(fact: NewFact) -> datetime:
    """When the notification was caused; a bounce may come back days later."""
    return time_of(parse_message_id(fact.message)[0]) if fact.message else fact.at
