"""What the messages' collection promises: its indexes, its expiry, and the shape that the server holds writers to.

Expiry and shape are for a real MongoDB; FerretDB, which stands in for it in tests, has neither.
"""

from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

MESSAGES = "messages"
ERASED = "erased"

_DAY_SECONDS = 86_400

# Equal fields first, then the order that pages go in: each search reads one range of one index. Partial, since
# most messages of a campaign have no subject.
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
    """An object whose values have these fields and no others."""
    value = {
        "bsonType": "object",
        "required": sorted(required),
        "properties": required | optional,
        "additionalProperties": False,
    }
    return {"bsonType": "object", "additionalProperties": value}


# Other fields at the top are let through: while releases roll, an older process must not refuse a newer one's.
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
    """The server itself drops messages so many days after their cause."""
    return IndexModel([("began", ASCENDING)], name="expiry", expireAfterSeconds=retention_days * _DAY_SECONDS)


def collection_rules(retention_days: int) -> dict[str, Any]:
    """`collMod` to today's shape and expiry."""
    return {
        "collMod": MESSAGES,
        "validator": {"$jsonSchema": SHAPE},
        "validationLevel": "strict",
        "validationAction": "error",
        "index": {"name": "expiry", "expireAfterSeconds": retention_days * _DAY_SECONDS},
    }


async def prepare(database: AsyncDatabase[dict[str, Any]], retention_days: int) -> bool:
    """Makes what is missing; as often as wanted. Whether the server is a real MongoDB."""
    real = "ferretdbVersion" not in await database.client.admin.command("buildInfo")
    messages = database[MESSAGES]
    wanted = [*SEARCHES, expiry(retention_days)] if real else [_whole(index) for index in SEARCHES]
    there = await messages.index_information()  # the stand-in hangs up when it is to make what it has
    missing = [index for index in wanted if index.document["name"] not in there]
    if missing:
        await messages.create_indexes(missing)
    if real:
        await database.command(collection_rules(retention_days))
    return real


async def check(database: AsyncDatabase[dict[str, Any]]) -> str | None:
    """What is not as it must be; None: nothing. PyMongoError is for the caller."""
    real = "ferretdbVersion" not in await database.client.admin.command("buildInfo")
    there = await database[MESSAGES].index_information()
    wanted = [index.document["name"] for index in SEARCHES] + (["expiry"] if real else [])
    if missing := [name for name in wanted if name not in there]:
        return f"the collection {MESSAGES} lacks the indexes {', '.join(missing)}"
    if real:
        validator = (await database[MESSAGES].options()).get("validator", {})
        if validator.get("$jsonSchema") != SHAPE:
            return f"the collection {MESSAGES} is held to another shape"
    return None


def _whole(index: IndexModel) -> IndexModel:
    """The index over all documents: the stand-in has no partial ones."""
    return IndexModel(list(index.document["key"].items()), name=index.document["name"])
