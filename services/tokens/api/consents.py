"""Consent of a recipient: what currently holds, the history of statements, and recording new ones."""

from fastapi import Request, Response

from libs.paging import BIGINTS, After, Limit, Page, read_cursor
from libs.web import Router
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
from services.tokens.api.shapes import ConsentsBody
from services.tokens.api.shown import RecipientShown, StatementShown
from services.tokens.handlers.recipients import record_statements

router = Router(prefix="/v1/recipients", tags=["consents"])


@router.get("/{key:path}/consents", response_model=Page[StatementShown])
async def list_statements(
    request: Request, principal: CanRead, key: KeyInPath, limit: Limit = 100, cursor: After = None
) -> Response:
    """List everything that the recipient ever stated, newest first, with its proof. The recipient shows what currently
    holds."""
    (before,) = read_cursor(cursor, int, below=BIGINTS) or (None,)
    found = await queries.statements(deps_of(request), realm_of(principal), key, before, limit + 1)
    return exact_page_of(found, limit, "id")


@router.put("/{key:path}/consents", response_model=RecipientShown)
async def put_consents(request: Request, principal: CanWrite, key: KeyInPath, body: ConsentsBody) -> Response:
    """Record a recipient's statements. The latest one on a topic and channel holds, in whichever order they arrive."""
    statements = translator_of(request).statements(body.consents)
    await record_statements(deps_of(request), act_of(request, principal), key, statements)
    return await shown(request, principal, key)
