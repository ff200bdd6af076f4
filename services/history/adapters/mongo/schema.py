"""The contract of the messages' collection: its indexes, its expiry, and the document shape that the server enforces.

Expiry and shape need a real MongoDB; FerretDB, which stands in for it in tests, has neither.
"""

from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

MESSAGES = "messages"
ERASED = "erased"

_DAY_SECONDS = 86_400

# Equality fields first, then the sort order of pages: each search reads one range of one index. The indexes are partial
# because most messages of a campaign have no subject.
SEARCHES: tuple[IndexModel, ...] = tuple(
    IndexModel(
        [("tenant", ASCENDING), ("mode", ASCENDING), (field, ASCENDING), ("_id", DESCENDING)],
        name=f"by_{field}",
        partialFilterExpression={field: {"$exists": True}},
    )
    for field in ("recipient", "subject", "cause", "address_key")
)

_TEXT, _DATE, _UUID = {"bsonType": "string"}, {"bsonType": "date"}, {"bsonType": "binData"}
_NUMBER, _SMALL = {"bsonType": ["int", "long"]}, {"bsonType": "int"}


def _keyed(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose values have exactly these fields."""
    value = {
        "bsonType": "object",
        "required": sorted(required),
        "properties": required | optional,
        "additionalProperties": False,
    }
    return {"bsonType": "object", "additionalProperties": value}


# Unknown top-level fields are allowed: during a rolling release, an older process must not refuse a newer one's.
SHAPE: dict[str, Any] = {
    "bsonType": "object",
    "required": ["_id", "tenant", "mode", "began"],
    "properties": {
        "_id": _TEXT,
        "tenant": _SMALL,
        "mode": _SMALL,
        "began": _DATE,
        "rank": _SMALL,
        "erased": {"bsonType": "bool"},
        "recipient": _TEXT,
        "address_key": _NUMBER,
        "communication": _TEXT,
        "subject": _TEXT,
        "cause": _UUID,
        "release": _UUID,
        "request": _UUID,
        "words": {"bsonType": "object", "additionalProperties": _TEXT},
        "transitions": _keyed(
            {"at": _DATE, "reason": _SMALL, "sender": _SMALL, "step": _SMALL},
            {"channel": _SMALL, "locale": _TEXT, "provider_ref": _TEXT},
        ),
        "receipts": _keyed({"at": _DATE, "attempt": _SMALL, "kind": _SMALL, "provider": _TEXT}, {}),
        "rejections": _keyed(
            {"at": _DATE, "final": {"bsonType": "bool"}},
            {"reply_code": _SMALL, "enhanced_code": _TEXT, "error": _TEXT},
        ),
    },
}


def expiry(retention_days: int) -> IndexModel:
    """Return the TTL index: the server drops messages this many days after their cause."""
    return IndexModel([("began", ASCENDING)], name="expiry", expireAfterSeconds=retention_days * _DAY_SECONDS)


def collection_rules(retention_days: int) -> dict[str, Any]:
    """Return the `collMod` command for the current shape and expiry."""
    return {
        "collMod": MESSAGES,
        "validator": {"$jsonSchema": SHAPE},
        "validationLevel": "strict",
        "validationAction": "error",
        "index": {"name": "expiry", "expireAfterSeconds": retention_days * _DAY_SECONDS},
    }


async def prepare(database: AsyncDatabase[dict[str, Any]], retention_days: int) -> bool:
    """Create what is missing; idempotent. Return whether the server is a real MongoDB."""
    real = "ferretdbVersion" not in await database.client.admin.command("buildInfo")
    messages = database[MESSAGES]
    wanted = [*SEARCHES, expiry(retention_days)] if real else [_whole(index) for index in SEARCHES]
    there = await messages.index_information()  # FerretDB hangs up when asked to create an existing index
    missing = [index for index in wanted if index.document["name"] not in there]
    if missing:
        await messages.create_indexes(missing)
    if real:
        await database.command(collection_rules(retention_days))
    return real


async def check(database: AsyncDatabase[dict[str, Any]]) -> str | None:
    """Return what is wrong; None: nothing. Lets PyMongoError pass."""
    real = "ferretdbVersion" not in await database.client.admin.command("buildInfo")
    there = await database[MESSAGES].index_information()
    wanted = [index.document["name"] for index in SEARCHES] + (["expiry"] if real else [])
    if missing := [name for name in wanted if name not in there]:
        return f"the collection {MESSAGES} lacks the indexes {', '.join(missing)}"
    if real:
        validator = (await database[MESSAGES].options()).get("validator", {})
        if validator.get("$jsonSchema") != SHAPE:
            return f"the collection {MESSAGES} enforces another document shape"
    return None


def _whole(index: IndexModel) -> IndexModel:
    """Return the index over all documents: FerretDB has no partial indexes."""
    return IndexModel(list(index.document["key"].items()), name=index.document["name"])
