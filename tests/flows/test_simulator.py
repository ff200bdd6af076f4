"""The simulator on real sockets: providers' replies, faults by address, counters that add up."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.simulator.app import Simulator, read_endpoints, running
from tests.flows.simulated import authority, calling, control, give_up_on, push, settings


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with running(tmp_path, settings()) as started:
        yield started


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(simulator) as made:
        yield made


async def test_a_push_is_taken_over_http2_and_can_be_looked_at(simulator: Simulator, client: httpx.AsyncClient) -> None:
    answer = await push(simulator, client, "device-1")
    assert answer.status_code == 200
    assert answer.json()["name"].startswith("projects/shop/messages/")
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
    simulator: Simulator, client: httpx.AsyncClient, token: str, status: int, code: str
) -> None:
    answer = await push(simulator, client, token)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, status)
    assert [d["errorCode"] for d in error["details"] if "errorCode" in d] == [code]
    assert (answer.headers.get("retry-after") == "1") is (status in (429, 503))
    figures = simulator.exchange.tallies["push"].figures()
    assert (figures["calls"], figures["refused"], figures["answers"]) == (1, 1, {f"{status} {code}": 1})


async def test_validate_only_is_looked_at_and_sent_to_nobody(simulator: Simulator, client: httpx.AsyncClient) -> None:
    answer = await push(simulator, client, "device-1", validate_only=True)
    figures = simulator.exchange.tallies["push"].figures()
    assert (answer.status_code, figures["validated"], figures["accepted"]) == (200, 1, 0)


async def test_a_time_out_after_accepting_is_counted_as_accepted(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    # given a device whose provider accepts and never answers, and one whose provider only hangs
    for token in ("fault-timeout-acceptedx1-a", "fault-timeout-refusedx1-b"):
        await give_up_on(simulator, client, token, tag=token)
    # when both are sent again
    for token in ("fault-timeout-acceptedx1-a", "fault-timeout-refusedx1-b"):
        assert (await push(simulator, client, token, tag=token)).status_code == 200
    # then the first alone is a repeat, with both its times
    repeats = (await control(simulator, client, "GET", "repeats"))["items"]
    assert [(r["message"], len(r["accepted"])) for r in repeats] == [("fault-timeout-acceptedx1-a", 2)]
    figures = simulator.exchange.tallies["push"].figures()
    assert figures["calls"] == 4
    assert (figures["accepted"], figures["distinct"], figures["repeated"]) == (3, 2, 1)
    assert (figures["lost"], figures["unanswered"]) == (1, 1)


@pytest.mark.parametrize(("token", "accepted"), [("fault-reset-a", 0), ("fault-reset-accepted-a", 1)])
async def test_a_reset_cuts_the_connection(
    simulator: Simulator, client: httpx.AsyncClient, token: str, accepted: int
) -> None:
    with pytest.raises(httpx.HTTPError):
        await push(simulator, client, token)
    assert simulator.exchange.tallies["push"].accepted == accepted
    assert (await push(simulator, client, "device-2")).status_code == 200


async def test_a_cut_leaves_no_descriptor_behind(simulator: Simulator, client: httpx.AsyncClient) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(10):
        with pytest.raises(httpx.HTTPError):
            await push(simulator, client, "fault-reset-a")
    # the client keeps its end of each; leaked copies of non-sockets would double after each cut
    assert len(os.listdir("/dev/fd")) < before + 20


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
        async with calling(simulator) as client:
            url = f"{simulator.endpoints.fcm_url}/v1/projects/{account['project_id']}/messages:send"
            body = {"message": {"token": "a"}}
            statuses = []
            for bearer in (done.stdout.strip(), "made-up"):
                answer = await client.post(url, headers={"authorization": f"Bearer {bearer}"}, json=body)
                statuses.append(answer.status_code)
            statuses.append((await client.post(account["token_uri"], content="grant_type=password")).status_code)
    assert statuses == [200, 401, 400]


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


async def test_a_taken_port_is_said_at_once(simulator: Simulator, tmp_path: Path) -> None:
    port = int(simulator.endpoints.fcm_url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        async with running(tmp_path / "other", settings(fcm_port=port)):
            pass
