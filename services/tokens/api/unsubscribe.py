"""One-click unsubscribe (RFC 8058): a page for people, and a POST that acts. No key, no cookie, no redirect.

Mail scanners follow links, so GET changes nothing. The mailbox provider's POST has exactly
`List-Unsubscribe=One-Click`, as form data of either kind; our page's button posts the same.
"""

from html import escape
from typing import Annotated

from fastapi import Path, Request, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from libs.auth import signed_link
from libs.errors import BadRequest, NotFound, UnsupportedMedia
from libs.ids import RecipientKey
from libs.links import UnsubscribeLink, read_unsubscribe
from libs.web import Router
from services.tokens.api.common import deps_of
from services.tokens.domain.consents import Statement
from services.tokens.domain.recipients import Realm
from services.tokens.handlers.acts import Act
from services.tokens.handlers.recipients import unsubscribe

router = Router(prefix="/v1/unsubscribe", tags=["unsubscribe"])

Signed = Annotated[str, Path(max_length=1_500, description="The signed part of the link.", examples=["AZeh…"])]
_FIELD, _VALUE = "List-Unsubscribe", "One-Click"
_MAX_BODY = 16_384
_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
_BODY = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": {_FIELD: {"type": "string", "const": _VALUE}}},
                "example": {_FIELD: _VALUE},
            }
        }
    }
}
# language → title, question (with the topic), button, done (with the topic), of a link that cannot be read
_TEXTS = {
    "en": (
        "Unsubscribe",
        "Stop messages about “{topic}” on this channel?",
        "Unsubscribe",
        "Done. You will get no more messages about “{topic}” on this channel.",
        "This link is incomplete. Copy the whole link from the message.",
    ),
    "de": (
        "Abmelden",
        "Keine Nachrichten mehr zu „{topic}“ auf diesem Weg?",
        "Abmelden",
        "Erledigt. Sie erhalten zu „{topic}“ auf diesem Weg keine Nachrichten mehr.",
        "Dieser Link ist unvollständig. Kopieren Sie den ganzen Link aus der Nachricht.",
    ),
    "fr": (
        "Se désabonner",
        "Ne plus recevoir de messages sur « {topic} » par ce moyen ?",
        "Se désabonner",
        "C’est fait. Vous ne recevrez plus de messages sur « {topic} » par ce moyen.",
        "Ce lien est incomplet. Copiez le lien entier depuis le message.",
    ),
}
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>:root{{color-scheme:light dark}}
body{{font:1.1em/1.5 system-ui,sans-serif;max-width:32em;margin:12vh auto 0;padding:0 1.2em}}
main{{border:1px solid #8885;border-radius:12px;padding:1.2em 1.8em 1.8em}}h1{{font-size:1.4em}}
button{{font:inherit;padding:.6em 1.6em;border:0;border-radius:8px;background:#0b5cad;color:#fff;cursor:pointer}}
</style></head>
<body><main><h1>{title}</h1><p>{text}</p>{form}</main></body></html>
"""
_FORM = """<form method="post"><input type="hidden" name="{field}" value="{value}"><button>{button}</button></form>"""


@router.head("/{signed}", include_in_schema=False, dependencies=[signed_link("unsubscribe")])
@router.get("/{signed}", response_class=HTMLResponse, dependencies=[signed_link("unsubscribe")])
async def show_page(request: Request, signed: Signed) -> Response:
    """Show a page with a button; opening it changes nothing. A link that a mail program broke is told in words, too."""
    language, (title, question, button, _, broken) = _texts(request)
    try:
        link = _read(request, signed)
    except NotFound as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return _page(language, title, broken, "", status=error.status)
    form = _FORM.format(field=_FIELD, value=_VALUE, button=escape(button))
    return _page(language, title, question.format(topic=link.topic), form)


@router.post("/{signed}", response_class=HTMLResponse, dependencies=[signed_link("unsubscribe")], openapi_extra=_BODY)
async def act(request: Request, signed: Signed) -> Response:
    """Withdraw the consent that the link names; repeating it changes nothing."""
    link = _read(request, signed)
    if not await _is_one_click(request):
        raise BadRequest(f"The body must be {_FIELD}={_VALUE} (RFC 8058), as form data.", pointer=f"/{_FIELD}")
    deps = deps_of(request)
    now = deps.clock()
    how, message = "one-click unsubscribe", link.message or None
    statement = Statement(link.topic, link.channel, False, now, how, message=message, by_us=True)
    who = Act(Realm(link.tenant, link.mode), "recipient", now)
    await unsubscribe(deps, who, RecipientKey(link.recipient), statement)
    language, (title, _, _, done, _) = _texts(request)
    return _page(language, title, done.format(topic=link.topic), "")


def _read(request: Request, signed: str) -> UnsubscribeLink:
    link = read_unsubscribe(deps_of(request).link_key, signed)
    if link is None:
        raise NotFound("This link is not one of ours or is incomplete; copy the whole link from the message.")
    return link


async def _is_one_click(request: Request) -> bool:
    body = await request.body()
    if len(body) <= _MAX_BODY and body.strip() == f"{_FIELD}={_VALUE}".encode():
        return True  # whatever its content type: it cannot mean anything else
    value = (await _form(request)).get(_FIELD)
    return isinstance(value, str) and value.strip() == _VALUE


async def _form(request: Request) -> FormData:
    """Parse the form, of either kind, with a size limit."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if len(await request.body()) > _MAX_BODY:
        raise BadRequest("The form is too large.")
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise UnsupportedMedia("Send form data: application/x-www-form-urlencoded or multipart/form-data.")
    parser = MultiPartParser if kind.startswith("multipart") else FormParser
    try:
        form: FormData = await parser(request.headers, request.stream()).parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise BadRequest("The form data cannot be parsed.") from error
    return form


def _texts(request: Request) -> tuple[str, tuple[str, str, str, str, str]]:
    for part in request.headers.get("accept-language", "").split(","):
        language = part.partition(";")[0].strip().lower()[:2]
        if language in _TEXTS:
            return language, _TEXTS[language]
    return "en", _TEXTS["en"]


def _page(language: str, title: str, text: str, form: str, *, status: int = 200) -> Response:
    page = _PAGE.format(language=language, title=escape(title), text=escape(text), form=form)
    return HTMLResponse(page, status, headers=_HEADERS)
