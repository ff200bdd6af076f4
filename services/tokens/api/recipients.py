"""Recipients: list, save, change, erase."""

from typing import Annotated

from fastapi import Query, Request, Response

from libs.errors import Invalid
from libs.paging import After, Limit, Page, read_cursor
from libs.web import EDIT, Router, require_match
from services.tokens import queries
from services.tokens.api.common import (
    CanRead,
    CanWrite,
    KeyInPath,
    act_of,
    deps_of,
    exact_page_of,
    realm_of,
    shown,
    translator_of,
)
from services.tokens.api.shapes import RecipientBody
from services.tokens.api.shown import RecipientShown
from services.tokens.handlers.recipients import erase_recipient, save_recipient, unknown
from services.tokens.ports import ListPage

router = Router(prefix="/v1/recipients", tags=["recipients"])


@router.get("", response_model=Page[RecipientShown])
async def list_recipients(
    request: Request,
    principal: CanRead,
    limit: Limit = 100,
    cursor: After = None,
    key: Annotated[str, Query(max_length=215, description="Keys that start with this.", examples=["customer:47"])] = "",
    address: Annotated[
        str | None,
        Query(
            max_length=4200,
            description="Only owners of this address: an e-mail, phone, token or URL as people write it.",
        ),
    ] = None,
) -> Response:
    """List recipients in the order of their keys."""
    deps, realm = deps_of(request), realm_of(principal)
    if "\0" in key or (address and "\0" in address):
        raise Invalid("A key or address cannot contain U+0000; remove it.", pointer="key")
    hash_ = None
    if address is not None:
        hash_ = queries.hash_of(deps, address)
        if hash_ is None:
            raise Invalid("This is not an e-mail address, phone number, device token or URL.", pointer="address")
    (after,) = read_cursor(cursor, str) or ("",)
    page = ListPage(limit + 1, after, key, hash_)
    found = await queries.recipients(deps, realm, page, unmasked=principal.may("pii:read"))
    return exact_page_of(found, limit, "key")


@router.get("/{key:path}", response_model=RecipientShown)
async def show_recipient(request: Request, principal: CanRead, key: KeyInPath) -> Response:
    """Get one recipient, with addresses and consents."""
    return await shown(request, principal, key)


@router.put(
    "/{key:path}", response_model=RecipientShown, responses={201: {"model": RecipientShown}}, openapi_extra=EDIT
)
async def put_recipient(request: Request, principal: CanWrite, key: KeyInPath, body: RecipientBody) -> Response:
    """Create a recipient (201) or replace its profile (200; needs If-Match, `*` to overwrite).

    Address lists, if given, replace those of their channel; devices and consents stay."""
    change = translator_of(request).change(key, body, whole=True)
    saved = await save_recipient(
        deps_of(request), act_of(request, principal), change, lambda version: require_match(request, version)
    )
    return await shown(request, principal, key, 201 if saved.created else 200)


@router.patch("/{key:path}", response_model=RecipientShown, openapi_extra=EDIT)
async def change_recipient(request: Request, principal: CanWrite, key: KeyInPath, body: RecipientBody) -> Response:
    """Change the given fields (RFC 7396: null empties, attributes are merged); If-Match is checked if sent."""

    def check(version: int | None) -> None:
        if version is None:
            raise unknown(key)
        if "if-match" in request.headers:
            require_match(request, version)

    change = translator_of(request).change(key, body)
    await save_recipient(deps_of(request), act_of(request, principal), change, check)
    return await shown(request, principal, key)


@router.delete("/{key:path}", status_code=204, openapi_extra=EDIT)
async def erase(request: Request, principal: CanWrite, key: KeyInPath) -> Response:
    """Erase a recipient: addresses, consents and names here, and the data that other services hold about it.

    Other services erase it even if it is unknown here, and store nothing of it that is still on its way. Notes that
    people wrote (on holds, suppressions, dead letters) are not searched for names.
    """

    def check(version: int | None) -> None:
        if "if-match" in request.headers:
            require_match(request, version)

    await erase_recipient(deps_of(request), act_of(request, principal), key, check)
    return Response(status_code=204)
