"""Push providers: our own sender and firebase-admin keep the same promises against the same HTTP/2 server."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import trustme

from libs.clock import FixedClock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.rendering.contents import PushContent
from services.delivery.adapters.fcm import FcmProvider
from services.delivery.adapters.fcm.encoding import PushEncoder
from services.delivery.adapters.fcm_reference import FcmReference, encode
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.ports import Provider
from tests.conformance.push_server import PushServer

CLOCK = FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
CONTENT = PushContent(
    'Ihr Paket „kommt" 📦',
    "Heute\nzwischen 10 und 12",
    image="https://shop.example/p.png",
    link="https://shop.example/o/1",
    data={"order": "123456789012345678"},
    collapse_key="parcel",
    ttl_seconds=3600,
)
PLAIN = PushContent("T", "B")
TEN_SECONDS = 10.0


def push_to(token: str, content: PushContent = CONTENT, **changes: object) -> Outbound:
    notification = uuid4()
    fields: dict[str, object] = {"kind": "fcm_token", "address": token, "content": content}
    return Outbound(f"{notification}.5", notification, 5, 1, **(fields | changes))  # type: ignore[arg-type]


async def send(provider: Provider, sender: Sender, pushes: list[Outbound], seconds: float = 20.0) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def settle(index: int, outcome: Outcome) -> None:
        assert index not in outcomes, "settled twice"
        outcomes[index] = outcome

    await provider.send(sender, pushes, time.monotonic() + seconds, settle)
    assert len(outcomes) == len(pushes), "a push was not settled"
    return [outcomes[index] for index in range(len(pushes))]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[PushServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with PushServer(context) as running:
        yield running


@pytest.fixture(params=[FcmProvider, FcmReference])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    make: Callable[..., Provider] = request.param
    made = make(CLOCK)
    yield made
    await made.close()


@pytest.fixture
def sender(server: PushServer, ca_file: str) -> Sender:
    return sender_for(server, ca_file)


def sender_for(server: PushServer, ca_file: str, token: str = "right", timeout: float = TEN_SECONDS) -> Sender:
    account = FcmAccount(
        "shop",
        static_token=token,
        url=f"https://127.0.0.1:{server.port}",
        ca_file=ca_file,
        timeout_seconds=timeout,
    )
    return Sender(3, 1, Mode.LIVE, Channel.PUSH, 1, account)


async def test_a_push_arrives_as_rendered(provider: Provider, server: PushServer, sender: Sender) -> None:
    """Over HTTP/2, to the project's URL, with the tag that lets a resend replace the first."""
    push = push_to("device-1")
    [outcome] = await send(provider, sender, [push])
    assert outcome == Sent("1")
    assert server.protocols == {"h2"}
    assert server.paths == {"/v1/projects/shop/messages:send"}
    [message] = server.accepted
    assert message["token"] == "device-1"
    assert message["notification"] == {"title": CONTENT.title, "body": CONTENT.body, "image": CONTENT.image}
    assert message["data"] == {"order": "123456789012345678", "link": CONTENT.link} | {
        "message": push.tag,
        "attempt": "1",
    }
    assert message["android"]["notification"]["tag"] == push.tag
    assert message["android"]["collapse_key"] == "parcel"
    assert message["android"]["ttl"] == "3600s"
    assert message["apns"]["headers"]["apns-collapse-id"] == push.tag
    assert message["apns"]["headers"]["apns-expiration"] == str(int(CLOCK().timestamp()) + 3600)
    assert message["webpush"]["fcm_options"]["link"] == CONTENT.link


async def test_an_installation_id_is_sent_in_its_own_field(
    provider: Provider, server: PushServer, sender: Sender
) -> None:
    await send(provider, sender, [push_to("fid-1", kind="fid")])
    assert server.accepted[0]["fid"] == "fid-1"
    assert "token" not in server.accepted[0]


@pytest.mark.parametrize(
    ("token", "kind", "reason", "flags"),
    [
        ("unregistered", Rejected, Reason.DEVICE_UNREGISTERED, {"retire": True, "error": "UNREGISTERED"}),
        ("mismatch", Rejected, Reason.ADDRESS_INVALID, {"retire": True, "error": "SENDER_ID_MISMATCH"}),
        ("bad-token", Rejected, Reason.ADDRESS_INVALID, {"retire": True}),
        ("bad-payload", Rejected, Reason.PAYLOAD_INVALID, {"retire": False, "sender_fault": False}),
        ("wrong-project", Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True, "code": 404}),
        ("forbidden", Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True, "code": 403}),
        ("apns-key", Deferred, Reason.SENDER_MISCONFIGURED, {"sender_fault": True, "code": 401}),
        ("quota", Deferred, Reason.THROTTLED, {"retry_after": 7.0}),
        ("quota-date", Deferred, Reason.THROTTLED, {"retry_after": 30.0}),
        ("quota-bare", Deferred, Reason.THROTTLED, {"retry_after": 60.0}),
        ("unavailable", Deferred, Reason.PROVIDER_UNAVAILABLE, {"retry_after": 3.0}),
        ("internal", Deferred, Reason.PROVIDER_UNAVAILABLE, {"called": True}),
        ("refused", Deferred, Reason.PROVIDER_UNAVAILABLE, {}),
        ("gateway", Ambiguous, Reason.TIMED_OUT, {}),
        ("accepted-then-reset", Ambiguous, Reason.CONNECTION_LOST, {}),
        ("accepted-then-gone", Ambiguous, Reason.CONNECTION_LOST, {}),
    ],
)
async def test_each_reply_maps_to_its_outcome(
    provider: Provider, sender: Sender, token: str, kind: type, reason: Reason, flags: dict[str, object]
) -> None:
    """One status can mean a dead device or our own mistake: only FCM's error code distinguishes them."""
    [outcome] = await send(provider, sender, [push_to(token)])
    assert type(outcome) is kind
    assert not isinstance(outcome, Sent)
    assert outcome.reason is reason
    assert {name: getattr(outcome, name) for name in flags} == flags


async def test_a_page_in_place_of_a_reply_is_no_success(sender: Sender) -> None:
    """A proxy that demands a login answers 200 to everything."""
    provider = FcmProvider(CLOCK)
    [outcome] = await send(provider, sender, [push_to("page")])
    await provider.close()
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.sender_fault) == (Reason.SENDER_MISCONFIGURED, True)


async def test_a_timeout_is_unknown(provider: Provider, server: PushServer, ca_file: str) -> None:
    """The server took the push and never answered."""
    [outcome] = await send(provider, sender_for(server, ca_file, timeout=0.4), [push_to("accepted-then-silent")])
    assert isinstance(outcome, Ambiguous)
    assert outcome.reason is Reason.TIMED_OUT
    assert len(server.accepted) == 1


async def test_a_refused_connection_counts_as_not_sent(provider: Provider, server: PushServer, ca_file: str) -> None:
    gone = sender_for(server, ca_file)
    account = FcmAccount("shop", static_token="x", url="https://127.0.0.1:1", ca_file=ca_file)
    [outcome] = await send(provider, Sender(3, 1, Mode.LIVE, Channel.PUSH, gone.version, account), [push_to("a")])
    assert isinstance(outcome, Deferred)
    assert outcome.reason is Reason.PROVIDER_UNAVAILABLE


async def test_an_untrusted_certificate_counts_as_not_sent(
    provider: Provider, server: PushServer, ca_file: str
) -> None:
    """Without the private authority the handshake fails before anything is sent."""
    trusted = sender_for(server, ca_file).account
    assert isinstance(trusted, FcmAccount)
    account = FcmAccount("shop", static_token="right", url=trusted.url)
    [outcome] = await send(provider, Sender(4, 1, Mode.LIVE, Channel.PUSH, 1, account), [push_to("a")])
    assert isinstance(outcome, Deferred)
    assert server.accepted == []


async def test_a_refusal_does_not_affect_other_pushes(provider: Provider, server: PushServer, sender: Sender) -> None:
    tokens = ["a", "unregistered", "b", "quota", "c", "internal", "d"]
    outcomes = await send(provider, sender, [push_to(token) for token in tokens])
    assert [type(outcome) for outcome in outcomes] == [Sent, Rejected, Sent, Deferred, Sent, Deferred, Sent]
    assert sorted(message["token"] for message in server.accepted) == ["a", "b", "c", "d"]


async def test_nothing_is_sent_after_the_deadline(provider: Provider, server: PushServer, sender: Sender) -> None:
    assert await send(provider, sender, [push_to("a")] * 3, seconds=-1) == [NOT_CALLED] * 3
    assert server.calls == 0


@pytest.mark.parametrize(
    ("content", "ttl"),
    [
        (CONTENT, 86_400),
        (CONTENT, 60),
        (PLAIN, 5_000_000),
        (PLAIN, 0),
        (PushContent("T", "B", link="shop://orders/1", data={"a": 'q"\\'}), 10),
        (PushContent("T", "B", data={"message": "the template's own"}), 10),
        (PushContent("T", "B", image="https://x.example/i.png", data={}), 10),
    ],
)
def test_our_json_matches_the_sdks(content: PushContent, ttl: int) -> None:
    """Whatever a push contains, we encode it exactly as Google's own library does."""
    push = push_to("token-1", content, ttl_seconds=ttl)
    ours = json.loads(PushEncoder(lambda: CLOCK().timestamp()).encode(push, content))
    capped = push if ttl <= 2_419_200 else push_to("token-1", content, ttl_seconds=2_419_200)
    theirs = encode(capped, CLOCK)
    if capped is not push:
        theirs = json.loads(json.dumps(theirs).replace(capped.tag, push.tag))
    assert ours == theirs


# ---- promises of our own sender only


async def test_a_chunk_shares_few_connections(server: PushServer, sender: Sender) -> None:
    """500 pushes: two connections, and no more than 100 in flight on each."""
    provider = FcmProvider(CLOCK)
    server.delay_seconds = 0.1
    outcomes = await send(provider, sender, [push_to(f"t{n}", PLAIN) for n in range(500)])
    await provider.close()
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert server.connections <= 2
    assert 100 < server.most_in_flight <= 200


async def test_a_single_push_does_not_wait_for_a_large_chunk(server: PushServer, sender: Sender) -> None:
    """A transactional message waits behind a few bulk ones, not behind all of them."""
    provider = FcmProvider(CLOCK)
    server.delay_seconds = 0.02
    order: list[str] = []
    deadline = time.monotonic() + 20
    bulk = [push_to(f"t{n}", PLAIN) for n in range(1_000)]
    large = asyncio.create_task(provider.send(sender, bulk, deadline, lambda i, o: order.append("bulk")))
    while not order:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await provider.send(sender, [push_to("one", PLAIN)], deadline, lambda i, o: order.append("one"))
    await large
    await provider.close()
    assert order.index("one") < 900


async def test_our_own_wrong_token_is_our_fault(server: PushServer, ca_file: str) -> None:
    """A 401 about our login retires no device."""
    provider = FcmProvider(CLOCK)
    [outcome] = await send(provider, sender_for(server, ca_file, token="wrong"), [push_to("a")])
    await provider.close()
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault
