"""The simulator over plain HTTP: SMS, webhooks, its own receipts, and the control API."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from pydantic import SecretStr

from libs.keyring import keyring_of
from services.simulator.adapters.rsgi import HttpServer
from services.simulator.app import Simulator, running
from services.simulator.domain.sms import signature
from tests.flows.simulated import TOKEN, Heard, calling, control, give_up_on, heard_until, push, settings, sms


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with running(tmp_path, settings()) as started:
        yield started


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(simulator) as made:
        yield made


async def test_an_sms_is_queued_and_its_callback_is_signed(simulator: Simulator, client: httpx.AsyncClient) -> None:
    # given a status callback with the message in its query
    heard = Heard()
    server = HttpServer(heard, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}/callbacks/twilio?message=n.7&attempt=2"
    # when a text is sent whose receipt comes twice
    answer = await sms(simulator, client, "+4915119990208", StatusCallback=url)
    await heard_until(heard, 2)
    await server.stop()
    # then both are the same, and signed with the account's token over URL and form
    document = answer.json()
    assert (answer.status_code, document["status"]) == (201, "delivered")
    for path, headers, body in heard.calls:
        form = parse_qsl(body.decode(), keep_blank_values=True)
        assert dict(form)["MessageSid"] == document["sid"]
        assert headers["x-twilio-signature"] == signature(TOKEN, url, form)
        assert path == "/callbacks/twilio?message=n.7&attempt=2"
    arrived = await control(simulator, client, "GET", "messages?channel=sms")
    assert (arrived["items"][0]["message"], arrived["items"][0]["attempt"]) == ("n.7", 2)


@pytest.mark.parametrize(
    ("to", "status", "code"),
    [
        ("12345", 400, 21211),
        ("+4915119990404", 400, 21211),
        ("+4915119990610", 400, 21610),
        ("+4915119990429", 429, 20429),
        ("", 400, 21604),
    ],
)
async def test_sms_are_refused_in_twilios_words(
    simulator: Simulator, client: httpx.AsyncClient, to: str, status: int, code: int
) -> None:
    answer = await sms(simulator, client, to)
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert simulator.exchange.tallies["sms"].figures()["refused"] == 1


async def test_a_webhook_without_a_fitting_signature_is_refused(tmp_path: Path) -> None:
    secret = base64.b64encode(b"k" * 24).decode()
    async with running(tmp_path, settings(webhook_secrets=(SecretStr(f"whsec_{secret}"),))) as simulator:
        stamp = str(int(time.time()))
        right = base64.b64encode(hmac.digest(b"k" * 24, f"m1.{stamp}.{{}}".encode(), "sha256")).decode()
        statuses = []
        async with calling(simulator) as client:
            for given in (f"v1,{right}", f"v1,AAAA v1,{right}", "v1,AAAA", ""):
                headers = {"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": given}
                answer = await client.post(f"{simulator.endpoints.webhook_url}/shop", headers=headers, content=b"{}")
                statuses.append(answer.status_code)
        assert statuses == [200, 200, 401, 401]
        assert simulator.exchange.tallies["webhook"].figures()["repeated"] == 1


async def test_own_receipts_are_signed_and_sent_to_the_callback(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    heard = Heard()
    server = HttpServer(heard, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}/delivery/v1/callbacks/simulator"
    await control(simulator, client, "PUT", "targets", {"callback_url": url})
    await give_up_on(simulator, client, "fault-timeout-receipt-a", tag="n.9")
    await heard_until(heard, 1)
    await server.stop()
    _, headers, body = heard.calls[0]
    key = keyring_of(Path(simulator.endpoints.fcm_ca).parent.parent).key("simulator")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    receipt = json.loads(body)[0]
    assert (receipt["message"], receipt["kind"], receipt["channel"]) == ("n.9", "delivered", "push")


async def test_a_script_stops_a_whole_channel_for_a_while(simulator: Simulator, client: httpx.AsyncClient) -> None:
    placed = await control(simulator, client, "POST", "faults", {"channel": "fcm", "fault": "503", "count": 1})
    assert placed["items"][0]["channel"] == "push"
    statuses = [(await push(simulator, client, "device-1")).status_code for _ in range(2)]
    assert statuses == [503, 200]
    assert (await control(simulator, client, "POST", "reset", {}))["total"]["calls"] == 0


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("POST", "faults", {"channel": "pigeon", "fault": "429"}, 422),
        ("POST", "faults", {"channel": "push", "fault": "odd"}, 422),
        ("POST", "faults", {"channel": "push", "fault": "429", "seconds": -1}, 422),
        ("POST", "faults", [], 422),
        ("GET", "messages?limit=x", None, 422),
        ("GET", "messages?sort=x", None, 422),
        ("GET", "messages/99", None, 404),
        ("GET", "nothing", None, 404),
    ],
)
async def test_control_says_what_is_wrong(
    simulator: Simulator, client: httpx.AsyncClient, method: str, path: str, document: Any, status: int
) -> None:
    problem = await control(simulator, client, method, path, document)
    assert problem["status"] == status
    assert problem["detail"]


async def test_people_get_a_page(simulator: Simulator, client: httpx.AsyncClient) -> None:
    answer = await client.get(simulator.endpoints.control_url)
    assert (answer.status_code, "What arrived" in answer.text) == (200, True)


def test_a_form_is_encoded_as_it_was_signed() -> None:
    fields = [("To", "+49 1"), ("Body", "ä&=")]
    assert parse_qsl(urlencode(fields)) == fields
