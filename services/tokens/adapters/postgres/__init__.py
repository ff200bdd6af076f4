"""Postgres: plain SQL, arrays in and rows out, sorted by what they lock."""

from collections.abc import AsyncIterator, Collection, Sequence, Set
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.messaging.erasing import erase_letters
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Collided, Database
from libs.storage.erasures import Erased, erased_among, remember
from services.tokens.adapters.postgres import imports
from services.tokens.adapters.postgres.addresses import PostgresAddresses
from services.tokens.adapters.postgres.consents import PostgresConsents
from services.tokens.adapters.postgres.imports import PostgresImports
from services.tokens.adapters.postgres.reads import PostgresReader
from services.tokens.adapters.postgres.recipients import PostgresRecipients
from services.tokens.domain.imports import Account, Refusal
from services.tokens.domain.recipients import Realm
from services.tokens.ports import AddressRows, ConsentRows, Contended, RecipientRows, Unit

# Two writers collided: a deadlock, a unique index that another writer reached first, a row gone meanwhile.
_MET = (
    Collided,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
)

# An update from arrays planned on an empty table would always scan it: the plan stays cached.
SERVER_SETTINGS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


class PostgresUnit:
    """One transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.recipients: RecipientRows = PostgresRecipients(connection)
        self.addresses: AddressRows = PostgresAddresses(connection)
        self.consents: ConsentRows = PostgresConsents(connection)

    async def remember_erased(self, erased: Sequence[Erased]) -> None:
        await remember(self._connection, erased)
        await erase_letters(self._connection, erased)

    async def erased_since(self, realm: Realm, keys: Collection[str], since: datetime) -> Set[str]:
        owners = ((realm.tenant, int(realm.mode), key) for key in keys)
        found = await erased_among(self._connection, owners, since)
        return {owner[2] for owner, at in found.items() if at >= since}

    async def publish(self, events: Sequence[Outgoing]) -> None:
        await append(self._connection, events)

    async def advance_import(self, id_: UUID, account: Account) -> bool:
        return await imports.advance(self._connection, id_, account)

    async def end_import(self, realm: Realm, id_: UUID, state: str, account: Account) -> bool:
        return await imports.end(self._connection, realm, id_, state, account)

    async def cancel_import(self, realm: Realm, id_: UUID) -> bool:
        return await imports.cancel(self._connection, realm, id_)

    async def refuse_rows(self, id_: UUID, refusals: Sequence[Refusal]) -> None:
        await imports.keep_refusals(self._connection, id_, refusals)


class PostgresStore:
    """Opens transactions on the service's pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        try:
            async with self._database.transaction() as connection:
                yield PostgresUnit(connection)
        except _MET as error:
            raise Contended("Somebody else changed the same recipient at this moment; retry.") from error


__all__ = ["SERVER_SETTINGS", "PostgresImports", "PostgresReader", "PostgresStore"]
