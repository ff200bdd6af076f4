"""Devices: one live address per installation, wherever its user goes; dead ones are retired on the provider's word."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from libs.contracts.audit import ActionRecorded
from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.outcomes import Mode
from libs.contracts.tokens import DeviceRetired, RecipientChanged
from libs.ids import uuid7
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import NOW, Suite, database_of, suite_over, wipe

TOKEN = "fHk3:APA91b-one-token-of-firebase"
OTHER = "fHk3:APA91b-another-token"


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_devices") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn)) as suite:
        yield suite


async def register(suite: Suite, installation: str = "i-1", token: str = TOKEN, **more: Any) -> dict[str, Any]:
    body = {"installation": installation, "token": token, **more}
    answer = await suite.call("POST", "/v1/devices", body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def addresses(suite: Suite, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await suite.resolve(key)).get(key, {"addresses": []})["addresses"]
    return found


async def test_an_installation_that_nobody_logged_in_on_is_a_recipient(suite: Suite) -> None:
    made = await register(suite, platform="android", locale="de_AT", zone="Europe/Vienna")
    assert made["recipient"] == "installation:i-1"
    found = (await suite.resolve("installation:i-1"))["installation:i-1"]
    assert (found["locale"], found["zone"]) == ("de-AT", "Europe/Vienna")
    assert [(a["kind"], a["value"], a["locale"]) for a in found["addresses"]] == [("fcm_token", TOKEN, "de-AT")]


async def test_login_and_logout_move_the_device_and_keep_its_id(suite: Suite) -> None:
    made = await register(suite)
    await suite.events()
    moved = await suite.call("POST", "/v1/devices/i-1:login", {"recipient": "customer:1"})
    assert (moved.json()["recipient"], moved.json()["id"]) == ("customer:1", made["id"])
    assert await addresses(suite, "installation:i-1") == []
    changed = {e.recipient for e in await suite.events() if isinstance(e, RecipientChanged) and "devices" in e.fields}
    assert changed == {"customer:1", "installation:i-1"}
    other = await suite.call("POST", "/v1/devices/i-1:login", {"recipient": "customer:2"})
    assert other.json()["recipient"] == "customer:2"
    assert await addresses(suite, "customer:1") == []
    back = await suite.call("POST", "/v1/devices/i-1:logout")
    assert (back.json()["recipient"], back.json()["id"]) == ("installation:i-1", made["id"])
    again = await suite.call("POST", "/v1/devices/i-1:logout")
    assert again.status_code == 200


async def test_the_same_device_with_another_user_moves(suite: Suite) -> None:
    first = await register(suite, recipient="customer:1")
    second = await register(suite, recipient="customer:2")
    assert first["id"] == second["id"]
    assert await addresses(suite, "customer:1") == []
    assert len(await addresses(suite, "customer:2")) == 1


async def test_a_new_token_takes_the_place_of_the_old_one(suite: Suite) -> None:
    await register(suite, "i-0", "fHk3:APA91b-a-third-token", recipient="customer:1")
    made = await register(suite, recipient="customer:1")
    await suite.events()
    answer = await suite.call("POST", "/v1/devices/i-1:refresh", {"token": OTHER})
    assert (answer.json()["id"], answer.json()["recipient"]) == (made["id"], "customer:1")
    (told,) = [e for e in await suite.events() if isinstance(e, ActionRecorded)]
    assert (told.action, told.object, told.after) == ("device.refresh", "customer:1", {"address": made["id"]})
    await suite.call("POST", "/v1/devices/i-0:unregister")
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [OTHER]
    unknown = await suite.call("POST", "/v1/devices/i-9:refresh", {"token": OTHER})
    assert unknown.status_code == 404


async def test_a_token_that_appears_in_another_installation_moves(suite: Suite) -> None:
    first = await register(suite, "i-1", recipient="customer:1")
    await suite.events()
    second = await register(suite, "i-2", recipient="customer:2")
    assert first["id"] != second["id"]
    assert await addresses(suite, "customer:1") == []
    assert [a["id"] for a in await addresses(suite, "customer:2")] == [second["id"]]
    retired = [e for e in await suite.events() if isinstance(e, DeviceRetired)]
    assert [(e.recipient, e.address_id) for e in retired] == [("customer:1", first["id"])]


async def test_unregister_retires_and_register_brings_back(suite: Suite) -> None:
    made = await register(suite, recipient="customer:1")
    await suite.events()
    for _ in range(2):
        assert (await suite.call("POST", "/v1/devices/i-1:unregister")).status_code == 200
    assert len([e for e in await suite.events() if isinstance(e, DeviceRetired)]) == 1
    assert await addresses(suite, "customer:1") == []
    assert (await register(suite, recipient="customer:1"))["id"] == made["id"]
    assert len(await addresses(suite, "customer:1")) == 1


async def test_a_new_token_does_not_undo_what_the_app_unregistered(suite: Suite) -> None:
    """Firebase issues one by itself when the app has deleted the old one to turn pushes off."""
    await register(suite, recipient="customer:1")
    await suite.call("POST", "/v1/devices/i-1:unregister")
    answer = await suite.call("POST", "/v1/devices/i-1:refresh", {"token": OTHER})
    assert answer.status_code == 200
    assert answer.json()["retired_at"] is not None
    assert await addresses(suite, "customer:1") == []
    await register(suite, token=OTHER, recipient="customer:1")
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [OTHER]


async def test_a_new_token_brings_back_a_device_whose_old_one_was_dead(suite: Suite) -> None:
    await register(suite, recipient="customer:1")
    await suite.tell(rejected((await addresses(suite, "customer:1"))[0]))
    assert await addresses(suite, "customer:1") == []
    await suite.call("POST", "/v1/devices/i-1:refresh", {"token": OTHER})
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [OTHER]


async def test_a_phone_without_a_place_says_its_offset(suite: Suite) -> None:
    await register(suite, zone="GMT+02:00")
    assert (await suite.resolve("installation:i-1"))["installation:i-1"]["zone"] == "Etc/GMT-2"


async def test_an_installation_id_token_is_kept_with_its_kind(suite: Suite) -> None:
    await register(suite, kind="fid", token="cA1b2C3d4E5f6G7h8I9j0K", recipient="customer:1")
    assert [a["kind"] for a in await addresses(suite, "customer:1")] == ["fid"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"installation": "i", "token": ""}, "/token"),
        ({"installation": "i", "token": "a b c d e f g h"}, "/token"),
        ({"installation": "i", "token": "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"}, "/token"),
        ({"installation": "i", "token": "undefined"}, "/token"),
        ({"installation": "i", "token": "BLACKLISTED"}, "/token"),
        ({"installation": "", "token": TOKEN}, "/installation"),
        ({"installation": "a\u200bb", "token": TOKEN}, "/installation"),
        ({"installation": "i", "token": TOKEN, "kind": "apns"}, "/kind"),
        ({"installation": "i", "token": TOKEN, "recipient": "max"}, "/recipient"),
        ({"installation": "i", "token": TOKEN, "recipient": "installation:j"}, "/recipient"),
        ({"installation": "i", "token": TOKEN, "zone": "Mars/Olympus"}, "/zone"),
        ({"installation": "i", "token": TOKEN, "zone": "../../etc/passwd"}, "/zone"),
        ({"installation": "i", "token": TOKEN, "locale": "german"}, "/locale"),
        ({"installation": "i", "token": TOKEN, "colour": "red"}, "/colour"),
    ],
)
async def test_what_is_no_device_is_refused_with_its_field(suite: Suite, body: dict[str, Any], pointer: str) -> None:
    answer = await suite.call("POST", "/v1/devices", body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def rejected(
    address: dict[str, Any], *, retire: bool = True, channel: str = "push", at: datetime = NOW
) -> MessageRejected:
    rejection = Rejection(
        message=f"{uuid7()}.{address['id']}",
        recipient="customer:1",
        attempt=1,
        channel=channel,
        sender=1,
        address_id=address["id"],
        address_hash=b64decode(address["hash"]),
        final=True,
        text="Requested entity was not found.",
        at=at,
        error="UNREGISTERED",
        retire=retire,
    )
    return MessageRejected(request_id=uuid7(), rejections=(rejection, rejection))


async def test_a_dead_device_is_retired_once_however_often_it_is_said(suite: Suite) -> None:
    await register(suite, recipient="customer:1")
    (address,) = await addresses(suite, "customer:1")
    await suite.events()
    await suite.tell(rejected(address, retire=False))
    assert len(await addresses(suite, "customer:1")) == 1
    await suite.tell(rejected(address), tenant=2)
    await suite.tell(rejected(address), mode=Mode.TEST)
    assert len(await addresses(suite, "customer:1")) == 1
    await suite.tell(rejected(address), rejected(address))
    await suite.tell(rejected(address))
    assert await addresses(suite, "customer:1") == []
    events = await suite.events()
    assert [e.address_id for e in events if isinstance(e, DeviceRetired)] == [address["id"]]
    assert [e.recipient for e in events if isinstance(e, RecipientChanged)] == ["customer:1"]


async def test_a_refusal_of_the_old_token_does_not_retire_the_new_one(suite: Suite) -> None:
    await register(suite, recipient="customer:1")
    (address,) = await addresses(suite, "customer:1")
    await suite.call("POST", "/v1/devices/i-1:refresh", {"token": OTHER})
    await suite.tell(rejected(address))
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [OTHER]


@pytest.mark.parametrize("comes_back", ["POST /v1/devices", "POST /v1/devices/i-1:refresh"])
async def test_a_refusal_that_is_told_late_does_not_retire_who_came_back(suite: Suite, comes_back: str) -> None:
    """A Firebase installation id stays the same when its app is installed anew; the refusal may lie in a queue."""
    method, path = comes_back.split()
    device = {"installation": "i-1", "token": "fid-of-this-installation", "kind": "fid"}
    assert (await suite.call("POST", "/v1/devices", device | {"recipient": "customer:1"})).status_code == 201
    (address,) = await addresses(suite, "customer:1")
    late = rejected(address)
    suite.clock.advance(timedelta(hours=1))
    again = (
        device | {"recipient": "customer:1"} if path.endswith("devices") else {"token": device["token"], "kind": "fid"}
    )
    assert (await suite.call(method, path, again)).status_code in (200, 201)
    await suite.tell(late)
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [device["token"]]
    await suite.tell(rejected(address, at=suite.clock.now + timedelta(seconds=1)))
    assert await addresses(suite, "customer:1") == []


async def test_many_writers_of_the_same_devices_leave_one_address_each(suite: Suite) -> None:
    answers = await asyncio.gather(
        *(
            suite.call(
                "POST",
                "/v1/devices",
                {"installation": f"i-{n % 3}", "token": f"{TOKEN}-{n % 4}", "recipient": f"customer:{n % 2}"},
            )
            for n in range(24)
        )
    )
    assert {answer.status_code for answer in answers} <= {201, 503}
    connection = await asyncpg.connect(suite.runtime.dsn_of("tokens"))
    live = "from tokens.address where retired_at is null"
    assert await connection.fetchval(f"select count(*) - count(distinct installation) {live}") == 0
    assert await connection.fetchval(f"select count(*) - count(distinct hash) {live}") == 0
    await connection.close()


async def test_two_devices_that_swap_their_tokens_in_one_file_both_arrive(suite: Suite) -> None:
    """A shop's table was off by one line, and is sent anew."""
    await register(suite, "i-1", TOKEN, recipient="customer:1")
    await register(suite, "i-2", OTHER, recipient="customer:2")
    rows = [
        {"key": f"customer:{number}", "devices": [{"installation": f"i-{number}", "token": token, "kind": "fcm_token"}]}
        for number, token in ((1, OTHER), (2, TOKEN))
    ]
    report = await suite.load("\n".join(json.dumps(row) for row in rows), "application/x-ndjson")
    assert (report.json()["state"], report.json()["changed"]) == ("done", 2), report.text
    assert [a["value"] for a in await addresses(suite, "customer:1")] == [OTHER]
    assert [a["value"] for a in await addresses(suite, "customer:2")] == [TOKEN]
