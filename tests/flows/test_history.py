"""Human actions are recorded with who, what, before and after, and listed."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from libs import exact_json
from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import HoldPlaced
from libs.contracts.envelope import EVENTS, Envelope
from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.service import Runtime, Service
from libs.service_client import Call, Transport
from services.history.app import create_service
from services.history.handlers import SUBSCRIPTIONS

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
async def history(
    database: str, make_runtime: Callable[[str], Runtime], transports: dict[str, Transport]
) -> AsyncIterator[Service]:
    async def access(call: Call) -> tuple[int, bytes]:
        tenant = 1 if exact_json.loads(call.body)["key"] == "key" else 2
        return 200, exact_json.dumps({"key_id": "k", "tenant": tenant, "mode": "live", "scopes": ["history:read"]})

    async def nobody(call: Call) -> tuple[int, bytes]:
        return 503, b"{}"

    transports |= {"access": access, "delivery": nobody, "orders-notification": nobody}
    service = create_service(make_runtime(database))
    async with service.running():
        yield service


async def hear(history: Service, *events: Any) -> None:
    for event in events:
        envelope = Envelope(
            id=uuid7(), type=event.TYPE, source="x", time=NOW, tenant=1, mode=Mode.LIVE, key="k", data=event
        )
        await SUBSCRIPTIONS[type(event)](history.deps, [envelope, envelope])


async def get(history: Service, key: str = "key", **asked: Any) -> httpx.Response:
    transport = httpx.ASGITransport(history.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://history") as client:
        return await client.get("/v1/actions", params=asked, headers={"authorization": f"Bearer {key}"})


def action(number: int) -> ActionRecorded:
    return ActionRecorded(
        actor=f"key{number % 2}",
        action="communication.publish" if number % 2 else "hold.place",
        object=f"c-{number}",
        at=NOW + timedelta(minutes=number),
        before={"version": number},
        after={"version": number + 1},
        note="as agreed",
    )


async def test_an_action_is_listed_with_before_and_after(history: Service) -> None:
    await hear(history, action(1), HoldPlaced(kind="tenant", target="1", version=1, at=NOW))
    (shown,) = (await get(history)).json()["items"]
    assert (shown["actor"], shown["action"], shown["object"]) == ("key1", "communication.publish", "c-1")
    assert (shown["before"], shown["after"], shown["note"]) == ({"version": 1}, {"version": 2}, "as agreed")


async def test_actions_are_narrowed_and_paged(history: Service) -> None:
    await hear(history, *(action(number) for number in range(6)))
    first = (await get(history, limit=4)).json()
    rest = (await get(history, limit=4, cursor=first["next_cursor"])).json()
    assert [item["object"] for item in first["items"] + rest["items"]] == [f"c-{n}" for n in range(5, -1, -1)]
    assert rest["next_cursor"] is None
    assert len((await get(history, actor="key0")).json()["items"]) == 3
    assert len((await get(history, action="hold.place", object="c-2")).json()["items"]) == 1


async def test_actions_of_one_moment_are_paged_without_a_gap(history: Service) -> None:
    await hear(history, *(msgspec.structs.replace(action(number), at=NOW) for number in range(3)))
    found, cursor = [], None
    while not found or cursor:
        page = (await get(history, limit=1, **({"cursor": cursor} if cursor else {}))).json()
        found += [item["object"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(found) == ["c-0", "c-1", "c-2"]


async def test_another_tenants_actions_are_not_seen(history: Service) -> None:
    await hear(history, action(1))
    assert (await get(history, "other")).json()["items"] == []


async def test_a_cursor_of_another_list_is_refused(history: Service) -> None:
    assert (await get(history, cursor="bm8")).status_code == 422


def test_history_hears_everything_that_is_said_about_messages() -> None:
    assert set(EVENTS) - {event.TYPE for event in SUBSCRIPTIONS} == {"notification.requested", "request.settled"}
