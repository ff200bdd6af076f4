"""The simulator on real sockets: providers' words, faults by address, counters that add up."""

import asyncio
import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from pydantic import SecretStr
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from libs.keyring import keyring_of
from services.simulator.adapters.rsgi import HttpServer
from services.simulator.app import Simulator, read_endpoints, running
from services.simulator.domain.sms import signature
from services.simulator.ports import HttpProtocol, Scope
from services.simulator.settings import SimulatorSettings

ACCOUNT, TOKEN = "AC123", "secret-token"
FORM = "application/x-www-form-urlencoded"


def settings(**changed: Any) -> SimulatorSettings:
    return SimulatorSettings(
        bounce_port=0, slow_seconds=0.3, late_seconds=0.2, receipt_seconds=0.01, hang_seconds=30.0
    ).model_copy(update=changed)


def authority(simulator: Simulator) -> bytes:
    return Path(simulator.endpoints.fcm_ca).read_bytes()


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with running(tmp_path, settings()) as started:
        yield started


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Client]:
    pem = authority(simulator)
    built = ClientBuilder().http2(True).add_root_certificate_pem(pem).timeout(timedelta(seconds=1)).build()
    yield built
    await built.close()


async def push(simulator: Simulator, client: Client, token: str, tag: str = "n.1", **more: Any) -> Any:
    message = {"token": token, "notification": {"title": "Hi"}, "android": {"notification": {"tag": tag}}}
    url = f"{simulator.endpoints.fcm_url}/v1/projects/shop/messages:send"
    request = client.post(url).header("authorization", "Bearer t").body_json({"message": message, **more})
    return await request.build().send()


async def sms(simulator: Simulator, client: Client, to: str, **form: str) -> Any:
    url = f"{simulator.endpoints.sms_url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    login = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    form = {"To": to, "From": "+4930123456", "Body": "Your parcel", **form}
    request = client.post(url).header("authorization", login).header("content-type", FORM)
    return await request.body_text(urlencode(form)).build().send()


async def control(simulator: Simulator, client: Client, method: str, path: str, document: Any = None) -> Any:
    request = client.request(method, f"{simulator.endpoints.control_url}/{path}")
    answer = await (request.body_json(document) if document is not None else request).build().send()
    return await answer.json()


class Heard:
    """A server of ours that listens to callbacks."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        body = await protocol()
        self.calls.append((f"{scope.path}?{scope.query_string}", dict(scope.headers.items()), body))
        protocol.response_empty(204, [])
        self.arrived.set()


async def heard_until(heard: Heard, count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard.calls) < count:
            heard.arrived.clear()
            await heard.arrived.wait()


async def test_a_push_is_taken_over_http2_and_can_be_looked_at(simulator: Simulator, client: Client) -> None:
    answer = await push(simulator, client, "device-1")
    assert answer.status == 200
    assert (await answer.json())["name"].startswith("projects/shop/messages/")
    assert (await control(simulator, client, "GET", "counters"))["channels"]["push"]["protocols"] == {"2": 1}
    listed = await control(simulator, client, "GET", "messages?to=DEVICE-1&channel=fcm")
    assert [(m["message"], m["subject"], m["outcome"]) for m in listed["items"]] == [("n.1", "Hi", "accepted")]
    whole = await control(simulator, client, "GET", f"messages/{listed['items'][0]['number']}")
    assert whole["content"]["message"]["token"] == "device-1"


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        ("fault-429-a", 429, "QUOTA_EXCEEDED"),
        ("fault-503-a", 503, "UNAVAILABLE"),
        ("fault-500-a", 500, "INTERNAL"),
        ("fault-dead-a", 404, "UNREGISTERED"),
        ("fault-mismatch-a", 403, "SENDER_ID_MISMATCH"),
        ("fault-apns-a", 401, "THIRD_PARTY_AUTH_ERROR"),
        ("fault-invalid-a", 400, "INVALID_ARGUMENT"),
    ],
)
async def test_a_token_tells_how_fcm_refuses(
    simulator: Simulator, client: Client, token: str, status: int, code: str
) -> None:
    answer = await push(simulator, client, token)
    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (status, status)
    assert [d["errorCode"] for d in error["details"] if "errorCode" in d] == [code]
    assert (answer.headers.get("retry-after") == "1") is (status in (429, 503))
    figures = simulator.exchange.tallies["push"].figures()
    assert (figures["calls"], figures["refused"], figures["answers"]) == (1, 1, {f"{status} {code}": 1})


async def test_validate_only_is_looked_at_and_sent_to_nobody(simulator: Simulator, client: Client) -> None:
    answer = await push(simulator, client, "device-1", validate_only=True)
    figures = simulator.exchange.tallies["push"].figures()
    assert (answer.status, figures["validated"], figures["accepted"]) == (200, 1, 0)


async def test_a_time_out_after_accepting_is_counted_as_accepted(simulator: Simulator, client: Client) -> None:
    # given a device whose provider accepts and never answers, and one whose provider only hangs
    for token in ("fault-timeout-acceptedx1-a", "fault-timeout-refusedx1-b"):
        with pytest.raises(PyreqwestError):
            await push(simulator, client, token, tag=token)
    # when both are sent again
    for token in ("fault-timeout-acceptedx1-a", "fault-timeout-refusedx1-b"):
        assert (await push(simulator, client, token, tag=token)).status == 200
    # then the first alone is a repeat, with both its times
    repeats = (await control(simulator, client, "GET", "repeats"))["items"]
    assert [(r["message"], len(r["accepted"])) for r in repeats] == [("fault-timeout-acceptedx1-a", 2)]
    figures = simulator.exchange.tallies["push"].figures()
    assert figures["calls"] == 4
    assert (figures["accepted"], figures["distinct"], figures["repeated"]) == (3, 2, 1)
    assert (figures["lost"], figures["unanswered"]) == (1, 1)


@pytest.mark.parametrize(("token", "accepted"), [("fault-reset-a", 0), ("fault-reset-accepted-a", 1)])
async def test_a_reset_cuts_the_connection(simulator: Simulator, client: Client, token: str, accepted: int) -> None:
    with pytest.raises(PyreqwestError):
        await push(simulator, client, token)
    assert simulator.exchange.tallies["push"].accepted == accepted
    assert (await push(simulator, client, "device-2")).status == 200


async def test_a_service_account_gets_the_only_tokens_that_a_strict_fcm_takes(tmp_path: Path) -> None:
    async with running(tmp_path, settings(fcm_strict_tokens=True)) as simulator:
        account = json.loads(simulator.service_account.read_bytes())
        program = (
            "import sys, requests, json\n"
            "from google.oauth2 import service_account as s\n"
            "from google.auth.transport.requests import Request\n"
            "session = requests.Session(); session.trust_env = False; session.verify = sys.argv[2]\n"
            "c = s.Credentials.from_service_account_file(sys.argv[1],"
            " scopes=['https://www.googleapis.com/auth/firebase.messaging'])\n"
            "c.refresh(Request(session)); print(c.token)"
        )
        arguments = [sys.executable, "-c", program, str(simulator.service_account), simulator.endpoints.fcm_ca]
        done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, check=True)
        pem = authority(simulator)
        async with ClientBuilder().http2(True).add_root_certificate_pem(pem).build() as client:
            url = f"{simulator.endpoints.fcm_url}/v1/projects/{account['project_id']}/messages:send"
            body = {"message": {"token": "a"}}
            statuses = []
            for bearer in (done.stdout.strip(), "made-up"):
                request = client.post(url).header("authorization", f"Bearer {bearer}").body_json(body)
                statuses.append((await request.build().send()).status)
            bad = client.post(account["token_uri"]).body_text("grant_type=password")
            statuses.append((await bad.build().send()).status)
    assert statuses == [200, 401, 400]


async def test_an_sms_is_queued_and_its_callback_is_signed(simulator: Simulator, client: Client) -> None:
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
    document = await answer.json()
    assert (answer.status, document["status"]) == (201, "delivered")
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
    simulator: Simulator, client: Client, to: str, status: int, code: int
) -> None:
    answer = await sms(simulator, client, to)
    document = await answer.json()
    assert (answer.status, document["status"], document["code"]) == (status, status, code)
    assert simulator.exchange.tallies["sms"].figures()["refused"] == 1


async def test_a_webhook_without_a_fitting_signature_is_refused(tmp_path: Path) -> None:
    secret = base64.b64encode(b"k" * 24).decode()
    async with running(tmp_path, settings(webhook_secrets=(SecretStr(f"whsec_{secret}"),))) as simulator:
        stamp = str(int(time.time()))
        right = base64.b64encode(hmac.digest(b"k" * 24, f"m1.{stamp}.{{}}".encode(), "sha256")).decode()
        statuses = []
        async with ClientBuilder().build() as client:
            for given in (f"v1,{right}", f"v1,AAAA v1,{right}", "v1,AAAA", ""):
                request = client.post(f"{simulator.endpoints.webhook_url}/shop").body_bytes(b"{}")
                headers = {"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": given}
                statuses.append((await request.headers(headers).build().send()).status)
        assert statuses == [200, 200, 401, 401]
        assert simulator.exchange.tallies["webhook"].figures()["repeated"] == 1


async def test_own_receipts_are_signed_and_sent_to_the_callback(simulator: Simulator, client: Client) -> None:
    heard = Heard()
    server = HttpServer(heard, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}/delivery/v1/callbacks/simulator"
    await control(simulator, client, "PUT", "targets", {"callback_url": url})
    with pytest.raises(PyreqwestError):
        await push(simulator, client, "fault-timeout-receipt-a", tag="n.9")
    await heard_until(heard, 1)
    await server.stop()
    _, headers, body = heard.calls[0]
    key = keyring_of(Path(simulator.endpoints.fcm_ca).parent.parent).key("simulator")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    receipt = json.loads(body)[0]
    assert (receipt["message"], receipt["kind"], receipt["channel"]) == ("n.9", "delivered", "push")


async def test_a_script_stops_a_whole_channel_for_a_while(simulator: Simulator, client: Client) -> None:
    placed = await control(simulator, client, "POST", "faults", {"channel": "fcm", "fault": "503", "count": 1})
    assert placed["items"][0]["channel"] == "push"
    statuses = [(await push(simulator, client, "device-1")).status for _ in range(2)]
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
    simulator: Simulator, client: Client, method: str, path: str, document: Any, status: int
) -> None:
    problem = await control(simulator, client, method, path, document)
    assert problem["status"] == status
    assert problem["detail"]


async def test_the_endpoints_file_stands_as_long_as_it_runs(tmp_path: Path) -> None:
    async with running(tmp_path, settings()) as simulator:
        assert read_endpoints(tmp_path) == simulator.endpoints
        first = authority(simulator)
    assert read_endpoints(tmp_path) is None
    async with running(tmp_path, settings()) as simulator:
        assert authority(simulator) == first


async def test_after_a_kill_it_comes_back_where_others_know_it(tmp_path: Path) -> None:
    # given an endpoints file that a killed simulator has left behind
    async with running(tmp_path, settings()) as simulator:
        left = (tmp_path / "simulator.json").read_bytes()
        first = simulator.endpoints
    (tmp_path / "simulator.json").write_bytes(left)
    # when it starts again
    async with running(tmp_path, settings()) as simulator:
        again = simulator.endpoints
    # then workers that read the file before still reach it
    assert again == first


async def test_people_get_a_page(simulator: Simulator, client: Client) -> None:
    answer = await client.get(simulator.endpoints.control_url).build().send()
    assert (answer.status, "What arrived" in await answer.text()) == (200, True)


async def test_a_taken_port_is_said_at_once(simulator: Simulator, tmp_path: Path) -> None:
    port = int(simulator.endpoints.fcm_url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        async with running(tmp_path / "other", settings(fcm_port=port)):
            pass


def test_a_form_is_encoded_as_it_was_signed() -> None:
    fields = [("To", "+49 1"), ("Body", "ä&=")]
    assert parse_qsl(urlencode(fields)) == fields
