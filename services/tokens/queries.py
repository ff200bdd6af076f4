"""Reads: what the API shows (masked without pii:read), and what other services query in batches."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from libs.addresses import InvalidAddress, device_token, email_address, phone_number, webhook_url
from libs.contracts.outcomes import Channel
from libs.errors import NotFound
from services.tokens.domain.consents import Statement, granted
from services.tokens.domain.masking import masked_address, masked_attributes, masked_text
from services.tokens.domain.recipients import Realm
from services.tokens.ports import ListPage, Tokens

MAX_KEYS = 1_000
_LISTS = {Channel.PUSH: "devices", Channel.EMAIL: "emails", Channel.SMS: "phones", Channel.WEBHOOK: "webhooks"}
_WORDS = {int(channel): channel.word for channel in Channel}
_EMPTY = msgspec.Raw(b"{}")


class ResolvedAddress(msgspec.Struct):
    """An address as the sender needs it; `hash` is base64."""

    id: int
    channel: str
    kind: str
    value: str
    hash: bytes
    locale: str | None


class ResolvedRecipient(msgspec.Struct):
    """Everything that one message to a recipient may need."""

    id: int
    first_name: str | None
    last_name: str | None
    locale: str | None
    zone: str | None
    attributes: msgspec.Raw
    quiet_hours: dict[str, str] | None
    consents: dict[str, bool]
    addresses: list[ResolvedAddress]


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """A `recipients:resolve` request; `channels` are words."""

    keys: list[str]
    topic: str | None = None
    channels: list[str] | None = None


_encode = msgspec.json.Encoder().encode
_decode_hours = msgspec.json.Decoder(dict[str, str | None]).decode


async def resolve(deps: Tokens, realm: Realm, wanted: Wanted) -> bytes:
    """Return recipients by key, as JSON: three statements whatever their number. Unknown keys are absent."""
    channels = sorted({Channel.parse(word) for word in wanted.channels or _WORDS.values()})
    found = await deps.reader.resolve(realm, wanted.keys, wanted.topic, channels)
    asked = {_WORDS[channel]: False for channel in channels} if wanted.topic else {}
    by_id: dict[int, ResolvedRecipient] = {}
    made: dict[str, ResolvedRecipient] = {}
    default_zone = deps.settings.default_zone
    for id_, key, first, last, locale, zone, hours, attributes in found.recipients:
        quiet = None
        if hours is not None:
            quiet = _decode_hours(hours)
            own = quiet.get("zone") or zone
            quiet["zone"] = own or default_zone
            if own is None:  # a better one than the installation's may be known: the tenant's
                quiet["zone_from"] = "default"
        raw = _EMPTY if attributes == "{}" else msgspec.Raw(attributes.encode())
        made[key] = by_id[id_] = ResolvedRecipient(id_, first, last, locale, zone, raw, quiet, dict(asked), [])  # type: ignore[arg-type]
    for owner, id_, channel, kind, value, hash_, locale in found.addresses:
        by_id[owner].addresses.append(ResolvedAddress(id_, _WORDS[channel], kind, value, hash_, locale))
    for owner, channel in found.consents:
        by_id[owner].consents[_WORDS[channel]] = True
    return _encode({"recipients": made})


async def find(deps: Tokens, realm: Realm, hashes: Sequence[bytes], texts: Sequence[str]) -> dict[str, Any]:
    """Return the owners of addresses, retired ones too: by hash, or as people write them."""
    of_text = {text: hash_of(deps, text) for text in texts}
    rows = await deps.reader.find(realm, list({*hashes, *(h for h in of_text.values() if h)}))
    keys: dict[bytes, list[str]] = {}
    for hash_, key in rows:
        keys.setdefault(hash_, []).append(key)
    return {
        "hashes": [{"hash": hash_, "recipients": keys.get(hash_, [])} for hash_ in hashes],
        "addresses": [
            {"address": text, "hash": hash_, "recipients": keys.get(hash_, []) if hash_ else []}
            for text, hash_ in of_text.items()
        ],
    }


async def recipient(deps: Tokens, realm: Realm, key: str, *, unmasked: bool) -> dict[str, Any]:
    """Return one recipient with addresses and consents. Raises NotFound."""
    row = await deps.reader.recipient(realm, key)
    if row is None:
        raise NotFound(f"There is no recipient {key} in this tenant and mode; check the key, or create it first.")
    return (await _views(deps, realm, [row], unmasked=unmasked))[0]


async def recipients(deps: Tokens, realm: Realm, page: ListPage, *, unmasked: bool) -> list[dict[str, Any]]:
    """Return a page of recipients in the order of their keys."""
    return await _views(deps, realm, await deps.reader.recipients(realm, page), unmasked=unmasked)


async def statements(deps: Tokens, realm: Realm, key: str, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Return a recipient's statements, newest first. Raises NotFound."""
    row = await deps.reader.recipient(realm, key)
    if row is None:
        raise NotFound(f"There is no recipient {key} in this tenant and mode.")
    rows = await deps.reader.statements(row["id"], before, limit)
    return [{**dict(found), "channel": _WORDS[found["channel"]]} for found in rows]


async def device(deps: Tokens, realm: Realm, installation: str, *, unmasked: bool) -> dict[str, Any]:
    """Return the device of an installation. Raises NotFound."""
    row = await deps.reader.device(realm, installation)
    if row is None:
        raise NotFound(f"There is no device of installation {installation}; register it with POST /v1/devices.")
    retired = {"retired_at": row["retired_at"], "retired_why": row["retired_why"]}
    return {"recipient": row["key"], **_address(row, unmasked=unmasked), **retired}


async def import_report(deps: Tokens, realm: Realm, id_: UUID) -> dict[str, Any]:
    """Return progress and result of an import. Raises NotFound."""
    row = await deps.imports.get(realm, id_)
    if row is None:
        raise NotFound(f"There is no import {id_}; GET /v1/imports lists them.")
    return dict(row)


def hash_of(deps: Tokens, text: str) -> bytes | None:
    """Return the hash of an address as pasted into a search; None if it is not one."""
    try:
        if "://" in text:
            address = webhook_url(text, allow_private=True)
        elif "@" in text:
            address = email_address(text)
        elif sum(character.isalpha() for character in text) <= 3:
            address = phone_number(text, deps.settings.default_region)
        else:
            address = device_token("fcm_token", text)
    except InvalidAddress:
        return None
    return address.hash(deps.hasher)


async def _views(deps: Tokens, realm: Realm, rows: Sequence[Any], *, unmasked: bool) -> list[dict[str, Any]]:
    if not rows:
        return []
    addresses, consents = await deps.reader.details(realm, [row["id"] for row in rows])
    views = {row["id"]: _view(row, unmasked=unmasked) for row in rows}
    for row in addresses:
        views[row["recipient_id"]][_LISTS[Channel(row["channel"])]].append(_address(row, unmasked=unmasked))
    barriers = {(row["recipient_id"], row["channel"]): _statement(row) for row in consents if row["topic"] == "*"}
    for row in consents:
        shown = {name: row[name] for name in ("topic", "granted", "at", "how", "text_version")}
        holds = granted(_statement(row), barriers.get((row["recipient_id"], row["channel"])))
        views[row["recipient_id"]]["consents"].append(
            shown | {"channel": _WORDS[row["channel"]], "granted": holds if row["granted"] else False}
        )
    return list(views.values())


def _view(row: Any, *, unmasked: bool) -> dict[str, Any]:
    return {
        "key": row["key"],
        "first_name": row["first_name"] if unmasked else masked_text(row["first_name"]),
        "last_name": row["last_name"] if unmasked else masked_text(row["last_name"]),
        "locale": row["locale"],
        "zone": row["zone"],
        "quiet_hours": row["quiet_hours"],
        "attributes": row["attributes"] if unmasked else masked_attributes(row["attributes"]),
        **{name: [] for name in _LISTS.values()},
        "consents": [],
        "version": row["version"],
        "created_at": row["created_at"],
        "changed_at": row["changed_at"],
    }


def _address(row: Any, *, unmasked: bool) -> dict[str, Any]:
    value = row["value"] if unmasked else masked_address(row["kind"], row["value"])
    shown = {"id": row["id"], "kind": row["kind"], "value": value, "created_at": row["created_at"]}
    if row["channel"] == Channel.PUSH:
        names = ("installation", "platform", "app_version", "locale", "seen_at")
        shown |= {name: row[name] for name in names}
    return shown


def _statement(row: Any) -> Statement:
    return Statement(row["topic"], Channel(row["channel"]), row["granted"], row["at"], row["how"])
