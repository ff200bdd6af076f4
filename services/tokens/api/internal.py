"""Batch queries of the suite's own services: decoded and encoded by msgspec, bypassing pydantic."""

import binascii
from base64 import b64decode
from typing import Annotated, Any

import msgspec
from fastapi import Request, Response

from libs.auth import Principal, internal
from libs.contracts.outcomes import Channel
from libs.errors import Invalid
from libs.web import ExactResponse, Router
from services.tokens import queries
from services.tokens.api.common import deps_of, realm_of

router = Router(prefix="/v1", tags=["internal"])

Suite = Annotated[Principal, internal()]
_decode_wanted = msgspec.json.Decoder(queries.Wanted).decode
_HASH = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
_ADDRESS = {
    "id": 17,
    "channel": "email",
    "kind": "email",
    "value": "joerg@example.com",
    "hash": _HASH,
    "locale": None,
}
_RECIPIENT = {
    "id": 5,
    "first_name": "Jörg",
    "last_name": "Müller",
    "locale": "de-AT",
    "zone": "Europe/Vienna",
    "attributes": {"tier": "gold"},
    "quiet_hours": {"from": "22:00", "to": "07:00", "zone": "Europe/Vienna"},
    "consents": {"email": True},
    "addresses": [_ADDRESS],
}


class Searched(msgspec.Struct, forbid_unknown_fields=True):
    """An `addresses:find` request: hashes (base64), or addresses as people write them."""

    hashes: list[str] = []
    addresses: list[str] = []


_decode_searched = msgspec.json.Decoder(Searched).decode


def _documented(wanted: dict[str, Any], answer: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "additionalProperties": False, "example": wanted}
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": wanted}}}
        },
        "responses": {200: {"content": {"application/json": {"example": answer}}}},
    }


_STRINGS = {"type": "array", "maxItems": queries.MAX_KEYS, "items": {"type": "string"}}


@router.post(
    "/recipients:resolve",
    response_class=Response,
    **_documented(
        {"keys": ["customer:4711"], "topic": "price-alerts", "channels": ["email"]},
        {"recipients": {"customer:4711": _RECIPIENT}},
        {
            "keys": _STRINGS,
            "topic": {"type": ["string", "null"]},
            "channels": {"type": ["array", "null"], "items": {"enum": [channel.word for channel in Channel]}},
        },
    ),
)
async def resolve(request: Request, principal: Suite) -> Response:
    """Up to 1,000 recipients with what sending to them needs; unknown keys are absent, consents only with a topic."""
    wanted = _decoded(_decode_wanted, await request.body())
    if len(wanted.keys) > queries.MAX_KEYS:
        raise Invalid(f"At most {queries.MAX_KEYS:,} keys per call; split the request.", pointer="/keys")
    if (wanted.topic and "\0" in wanted.topic) or any("\0" in key for key in wanted.keys):
        raise Invalid("A key cannot contain U+0000; remove it.", pointer="/keys")
    try:
        answer = await queries.resolve(deps_of(request), realm_of(principal), wanted)
    except ValueError as error:
        raise Invalid(f"{error}.", pointer="/channels") from error
    return Response(answer, media_type="application/json")


@router.post(
    "/addresses:find",
    response_class=Response,
    **_documented(
        {"hashes": [_HASH], "addresses": ["joerg@example.com"]},
        {
            "hashes": [{"hash": _HASH, "recipients": ["customer:4711"]}],
            "addresses": [{"address": "joerg@example.com", "hash": _HASH, "recipients": ["customer:4711"]}],
        },
        {"hashes": _STRINGS, "addresses": _STRINGS},
    ),
)
async def find(request: Request, principal: Suite) -> Response:
    """The current and former owners of addresses, and the addresses' hashes; for searches by address."""
    searched = _decoded(_decode_searched, await request.body())
    if max(len(searched.hashes), len(searched.addresses)) > queries.MAX_KEYS:
        raise Invalid(f"At most {queries.MAX_KEYS:,} per call; split the request.", pointer="/hashes")
    try:
        hashes = [b64decode(text, validate=True) for text in searched.hashes]
    except (binascii.Error, ValueError) as error:
        raise Invalid("A hash must be base64.", pointer="/hashes") from error
    return ExactResponse(await queries.find(deps_of(request), realm_of(principal), hashes, searched.addresses))


def _decoded(decode: Any, body: bytes) -> Any:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(f"This is not the expected request: {error}.", pointer="") from error
