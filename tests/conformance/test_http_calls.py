"""What SMS and webhook calls promise on the wire: where they connect, how long they last, when they count as unsent."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

import httpcore
import pytest
import trustme

from libs import guarded_network
from libs.contracts.reasons import Reason
from libs.http_replies import Reply
from services.delivery.adapters.http_calls import Lane, Limits
from services.delivery.adapters.webhook.targets import GuardedNetwork
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected
from tests.conformance.http2_peer import listening

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def saying(answer: bytes, heads: list[bytes] | None = None, *, then_silent: bool = False) -> Talk:
    """A server that gives each request this answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b"{}"))
            except asyncio.IncompleteReadError:
                return
            if heads is not None:
                heads.append(head)
            writer.write(answer)
            await writer.drain()
            if b"content-length: 2\r\n" not in answer:
                await asyncio.sleep(30 if then_silent else 0)
                return

    return talk


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def post(
    url: str, limits: Limits = Limits(30.0, 4, 100), network: httpcore.AsyncNetworkBackend | None = None
) -> Reply | Outcome:
    lane = Lane(limits, network)
    try:
        return await lane.post(url, {"content-type": "application/json"}, b"{}")
    finally:
        await lane.close()


# ---- where they connect


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A resolver: each lookup of a name takes its next list of IPs. Loopback counts as public, 10/8 as private."""
    known: dict[str, list[list[str]]] = {}

    async def resolve(host: str, port: int) -> list[str]:
        return known[host].pop(0)

    monkeypatch.setattr(guarded_network, "_resolve", resolve)
    monkeypatch.setattr(guarded_network, "is_public", lambda ip: not ip.startswith("10."))
    return known


async def test_the_checked_ip_is_called_with_the_hosts_own_name(
    authority: trustme.CA, names: dict[str, list[list[str]]]
) -> None:
    """One lookup, so no second chance to point inside; the certificate and the Host field carry the name."""
    names["shop.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    asked: list[str | None] = []
    heads: list[bytes] = []
    context = certified(authority, "shop.example")
    context.sni_callback = lambda _, name, __: asked.append(name)
    with authority.cert_pem.tempfile() as ca_file:
        async with listening(saying(OK, heads), context) as port:
            limits, guard = Limits(30.0, 4, 100, ca_file), GuardedNetwork(allow_private=False)
            assert await post(f"https://shop.example:{port}/hook?a=b", limits, guard) == Reply(200, None, b"ok")
            rebound = await post(f"https://shop.example:{port}/hook", limits, guard)
    assert isinstance(rebound, Rejected)
    assert rebound.reason is Reason.ADDRESS_INVALID
    assert asked == ["shop.example"]
    [head] = heads
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert b"\r\nhost: shop.example:%d\r\n" % port in head.lower()


async def test_a_certificate_for_another_name_receives_nothing(
    authority: trustme.CA, names: dict[str, list[list[str]]]
) -> None:
    names["shop.example"] = [["127.0.0.1"]]
    heads: list[bytes] = []
    with authority.cert_pem.tempfile() as ca_file:
        async with listening(saying(OK, heads), certified(authority, "other.example", "127.0.0.1")) as port:
            guard = GuardedNetwork(allow_private=False)
            outcome = await post(f"https://shop.example:{port}/", Limits(30.0, 4, 100, ca_file), guard)
    assert isinstance(outcome, Deferred)
    assert "shop.example" in outcome.text
    assert heads == []


async def test_one_private_ip_among_public_ones_blocks_the_call(names: dict[str, list[list[str]]]) -> None:
    names["shop.example"] = [["127.0.0.1", "10.0.0.1"]]
    async with listening(saying(OK)) as port:
        outcome = await post(f"http://shop.example:{port}/", network=GuardedNetwork(allow_private=False))
    assert isinstance(outcome, Rejected)


async def test_an_unreachable_ip_falls_back_to_the_next(names: dict[str, list[list[str]]]) -> None:
    """Such as IPv6 on a host without it."""
    names["shop.example"] = [["127.0.0.2", "127.0.0.1"]]
    async with listening(saying(OK)) as port:
        outcome = await post(f"http://shop.example:{port}/", network=GuardedNetwork(allow_private=False))
    assert outcome == Reply(200, None, b"ok")


async def test_proxy_variables_redirects_and_cookies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    answer = b"HTTP/1.1 307 X\r\nlocation: /inner\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\nno"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with listening(saying(answer, heads)) as port:
        lane = Lane(Limits(30.0, 4, 100))
        for _ in range(2):
            assert await lane.post(f"http://127.0.0.1:{port}/hook", {}, b"{}") == Reply(307, None, b"no")
        await lane.close()
    assert [head.partition(b"\r\n")[0] for head in heads] == [b"POST /hook HTTP/1.1"] * 2
    assert not any(b"cookie" in head.lower() for head in heads)


# ---- how long they last


async def test_an_unfinished_handshake_counts_as_not_sent(authority: trustme.CA) -> None:
    with authority.cert_pem.tempfile() as ca_file:
        async with listening(mute) as port:
            outcome = await post(f"https://127.0.0.1:{port}/", Limits(0.4, 4, 100, ca_file))
    assert outcome == Deferred(Reason.PROVIDER_UNAVAILABLE, "no connection in time")


async def test_an_unresolved_name_counts_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    monkeypatch.setattr(guarded_network, "_resolve", resolve)
    outcome = await post("https://shop.example/", Limits(0.4, 4, 100), GuardedNetwork(allow_private=False))
    assert outcome == Deferred(Reason.PROVIDER_UNAVAILABLE, "no connection in time")


@pytest.mark.parametrize(
    "octets", [b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 500, b"HTTP/1.1 100 Continue\r\n\r\n" * 99]
)
async def test_a_server_that_keeps_sending_does_not_extend_the_call(octets: bytes) -> None:
    """The limit covers the whole call, not each read. The server had the request, so the outcome is unknown."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(octets), 25):
            if writer.is_closing():  # uvloop's raises what no caller expects
                return
            writer.write(octets[start : start + 25])
            await asyncio.sleep(0.1)

    began = time.monotonic()
    async with listening(trickle) as port:
        outcome = await post(f"http://127.0.0.1:{port}/", Limits(0.5, 4, 100))
        took = time.monotonic() - began
    assert outcome == Ambiguous(Reason.TIMED_OUT, "no reply in time")
    assert took < len(octets) / 25 * 0.1 / 2, "it waited for all of it"


@pytest.mark.parametrize("then_silent", [True, False])
async def test_a_success_counts_despite_a_truncated_body(then_silent: bool) -> None:
    """The status has arrived. A refusal needs its body for the reason: without it the outcome is unknown."""
    for status, kind in ((201, Reply), (400, Ambiguous)):
        answer = b"HTTP/1.1 %d X\r\ncontent-length: 50\r\n\r\nhalf" % status
        async with listening(saying(answer, then_silent=then_silent)) as port:
            outcome = await post(f"http://127.0.0.1:{port}/", Limits(0.5, 4, 100))
        assert isinstance(outcome, kind)


async def test_a_reply_is_read_only_up_to_its_limit() -> None:
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 400 X\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")
            await writer.drain()
            written += 0x4000

    async with listening(endless) as port:
        assert await post(f"http://127.0.0.1:{port}/") == Reply(400, "7", b"a" * 100)
    assert written < 32 << 20  # what the sockets' buffers take


# ---- connections


async def test_connections_are_reused_and_closed_when_the_sender_changes() -> None:
    opened: list[None] = []
    closed: asyncio.Queue[None] = asyncio.Queue()
    answering = saying(OK)

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(None)
        await answering(reader, writer)
        closed.put_nowait(None)

    async with listening(counting) as port:
        lane = Lane(Limits(30.0, 4, 100))
        for _ in range(5):
            assert isinstance(await lane.post(f"http://127.0.0.1:{port}/", {}, b"{}"), Reply)
        assert (len(opened), closed.qsize()) == (1, 0)
        lane.retire()
        await closed.get()
        # a chunk in flight continues, and leaves nothing open
        assert isinstance(await lane.post(f"http://127.0.0.1:{port}/", {}, b"{}"), Reply)
        await closed.get()


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "example.com", "https://", "https://exämple.com/", "http://a b/"]
)
async def test_an_invalid_url_is_our_fault(url: str) -> None:
    outcome = await post(url)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.called, outcome.sender_fault) == (Reason.SENDER_MISCONFIGURED, False, True)


async def test_unreadable_certificates_are_our_fault() -> None:
    outcome = await post("https://127.0.0.1:1/", Limits(30.0, 4, 100, "/no/such/file"))
    assert isinstance(outcome, Deferred)
    assert (outcome.called, outcome.sender_fault) == (False, True)
    assert "ca_file" in outcome.text
