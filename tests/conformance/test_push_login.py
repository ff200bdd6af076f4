"""The Google login: shared by many pushes, renewed before it expires, and never blocking the loop."""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from libs.contracts.reasons import Reason
from services.delivery.adapters.fcm.credentials import ServiceAccountToken
from services.delivery.domain.outcomes import Deferred
from tests.conformance.http_server import Answer, Call, HttpServer


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def account(server: HttpServer, private_key: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "shop",
            "private_key_id": "k1",
            "private_key": private_key,
            "client_email": "push@shop.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"http://127.0.0.1:{server.port}/token",
        }
    )


def granting(seconds: int = 3_600) -> Callable[[Call], Answer]:
    """Issue tokens t1, t2, … with this lifetime."""
    count = 0

    def answer(call: Call) -> Answer:
        nonlocal count
        count += 1
        granted = {"access_token": f"t{count}", "expires_in": seconds, "token_type": "Bearer"}
        return Answer(200, {"content-type": "application/json"}, json.dumps(granted).encode())

    return answer


def refusing(status: int, error: str) -> Callable[[Call], Answer]:
    body = json.dumps({"error": error, "error_description": "no"}).encode()
    return lambda call: Answer(status, {"content-type": "application/json"}, body)


async def test_many_pushes_share_one_login(private_key: str) -> None:
    async with HttpServer(granting()) as server:
        source = ServiceAccountToken(account(server, private_key))
        tokens = await asyncio.gather(*(source.bearer() for _ in range(50)))
        assert set(tokens) == {"t1"}
        assert await source.bearer() == "t1"
    assert len(server.calls) == 1
    assert parse_qs(server.calls[0].body.decode())["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


async def test_the_token_is_renewed_early_without_blocking_callers(private_key: str) -> None:
    """A token with two minutes left is still used while the next one is fetched."""
    async with HttpServer(granting(seconds=120)) as server:
        source = ServiceAccountToken(account(server, private_key))
        assert await source.bearer() == "t1"
        assert await source.bearer() == "t1"
        # the renewal runs in a thread, and nothing signals its end
        while await source.bearer() == "t1":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await source.bearer() == "t2"


async def test_a_refused_token_is_replaced_once(private_key: str) -> None:
    """A hundred 401s for the same token cause one new login; a late one for an old token causes none."""
    async with HttpServer(granting()) as server:
        source = ServiceAccountToken(account(server, private_key))
        assert await source.bearer() == "t1"
        source.refuse("t1")
        assert set(await asyncio.gather(*(source.bearer() for _ in range(20)))) == {"t2"}
        source.refuse("t1")
        assert await source.bearer() == "t2"
    assert len(server.calls) == 2


async def test_a_revoked_account_is_our_fault_and_is_not_retried_repeatedly(private_key: str) -> None:
    async with HttpServer(refusing(400, "invalid_grant")) as server:
        source = ServiceAccountToken(account(server, private_key))
        outcomes = [await source.bearer() for _ in range(20)]
    assert all(isinstance(outcome, Deferred) and outcome.sender_fault for outcome in outcomes)
    assert all(isinstance(outcome, Deferred) and not outcome.called for outcome in outcomes)
    assert len(server.calls) == 1


async def test_an_unreachable_google_is_not_the_senders_fault(private_key: str) -> None:
    async with HttpServer(granting()) as server:
        gone = account(server, private_key)
    outcome = await ServiceAccountToken(gone).bearer()
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.sender_fault) == (Reason.PROVIDER_UNAVAILABLE, False)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in to the network</html>",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"access_token": "t", "expires_in": "soon"}',
        b'{"access_token": "t", "expires_in": 1e300}',
    ],
)
async def test_a_reply_without_a_token_is_not_the_senders_fault_nor_hammered(private_key: str, body: bytes) -> None:
    """A proxy between us and Google may answer 200 to everything."""
    async with HttpServer(lambda call: Answer(200, {"content-type": "application/json"}, body)) as server:
        source = ServiceAccountToken(account(server, private_key))
        outcomes = [await source.bearer() for _ in range(20)]
    for outcome in outcomes:
        assert isinstance(outcome, Deferred)
        assert (outcome.reason, outcome.sender_fault) == (Reason.PROVIDER_UNAVAILABLE, False)
        assert "cannot be read" in outcome.text
    assert len(server.calls) == 1


async def test_googles_reply_is_not_quoted_in_full(private_key: str) -> None:
    secret = Answer(200, {"content-type": "application/json"}, b'{"id_token": "secret-of-ours"}')
    async with HttpServer(lambda call: secret) as server:
        outcome = await ServiceAccountToken(account(server, private_key)).bearer()
    assert isinstance(outcome, Deferred)
    assert "secret-of-ours" not in outcome.text


async def test_the_loop_is_never_blocked(private_key: str) -> None:
    """Google is slow; everything else continues, and a caller that waits for the token has a timeout."""
    async with HttpServer(lambda call: Answer(silent=True)) as server:
        source = ServiceAccountToken(account(server, private_key), longest_wait_seconds=0.5)
        waiting = asyncio.create_task(source.bearer())
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.001)
            ticks += 1
        assert ticks == 20
        assert not waiting.done()
        outcome = await waiting
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.sender_fault) == (Reason.PROVIDER_UNAVAILABLE, False)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"type":"service_account"}', "{" * 100])
def test_an_invalid_service_account_is_reported_at_once(text: str) -> None:
    with pytest.raises(ValueError):
        ServiceAccountToken(text)
