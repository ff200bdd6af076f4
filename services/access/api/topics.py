"""Topics over HTTP, of the caller's tenant and mode."""

from typing import Annotated, Any

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.access import domain, handlers, queries
from services.access.api.shapes import TopicBody, TopicName, TopicShown
from services.access.domain import Category, Topic
from services.access.handlers import Access

router = Router(prefix="/v1/topics", tags=["topics"])

Reader = Annotated[Principal, scope("topics:read", internal=True)]
Writer = Annotated[Principal, scope("topics:write")]
NameInPath = Annotated[TopicName, Path(description="The topic's name.", examples=["price-alerts"])]


@router.get("")
async def list_topics(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[TopicShown]:
    """List topics by name."""
    (after,) = read_cursor(cursor, str) or ("",)
    found = await queries.topics(_deps(request).store, principal, after, limit + 1)
    return page_of(found, limit, shown, lambda topic: (topic.name,))


@router.get("/{name}")
async def show_topic(request: Request, response: Response, principal: Reader, name: NameInPath) -> TopicShown:
    """Get one topic."""
    topic = await queries.topic(_deps(request).store, principal, name)
    response.headers["etag"] = etag(topic.version)
    return shown(topic)


@router.put("/{name}", responses={201: {"description": "Created.", "model": TopicShown}}, openapi_extra=EDIT)
async def put_topic(
    request: Request, response: Response, principal: Writer, name: NameInPath, body: TopicBody
) -> TopicShown:
    """Create a topic (201) or change it (200); a change needs If-Match."""
    wanted = Topic(name, Category.parse(body.category), body.description, body.active, 0, domain.NEVER)
    topic, created = await handlers.put_topic(
        _deps(request), principal, wanted, lambda version: require_match(request, version)
    )
    response.status_code = 201 if created else 200
    response.headers["etag"] = etag(topic.version)
    return shown(topic)


def shown(topic: Topic) -> TopicShown:
    """Return a topic as responses show it."""
    return TopicShown(
        name=topic.name,
        category=_word(topic),
        description=topic.description,
        active=topic.active,
        version=topic.version,
        changed_at=topic.changed_at,
    )


def _word(topic: Topic) -> Any:
    return topic.category.word


def _deps(request: Request) -> Access:
    deps: Access = request.app.state.deps
    return deps
