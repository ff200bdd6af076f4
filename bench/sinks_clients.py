"""The barest clients: no ledger, no render, no classified outcome. Their rates are what the sink and Python allow."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from pyreqwest.client import Client, ClientBuilder

from libs.ids import uuid7
from libs.service import SimulatorEndpoints
from libs.verp import ReturnPath

_PER_CONNECTION = 100  # FCM servers' limit of calls in flight


def push_bodies(count: int) -> list[bytes]:
    """Return pushes in FCM's format, each with a personal text and a tag."""
    cause = uuid7()
    return [
        b'{"message":{"token":"token-%060d","notification":{"title":"On its way, Anna %d","body":"Parcel %d has '
        b'left our warehouse and reaches you tomorrow."},"data":{"order":"%d"},"android":{"ttl":"86400s",'
        b'"notification":{"tag":"%s.%d"}},"apns":{"headers":{"apns-collapse-id":"%s.%d"}}}}'
        % (n, n, n, n, str(cause).encode(), n, str(cause).encode(), n)
        for n in range(count)
    ]


def mail_texts(count: int) -> list[tuple[bytes, bytes]]:
    """Return envelope lines and text of mails of about 4.9 kB, each with its return path."""
    paths, cause = ReturnPath(b"k" * 32, "bounces.example"), uuid7()
    filling = b"<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy.</p>\r\n" * 56
    texts = []
    for n in range(count):
        sender = paths.make(UUID(int=cause.int ^ n), n, 1).encode()
        envelope = b"MAIL FROM:<%s>\r\nRCPT TO:<anna%d@example.com>\r\nDATA\r\n" % (sender, n)
        text = b"From: shop@example.com\r\nTo: anna%d@example.com\r\nSubject: Parcel %d\r\n" % (n, n)
        texts.append(
            (envelope, text + b"Message-ID: <%d@example.com>\r\n\r\nHello Anna %d\r\n%s.\r\n" % (n, n, filling))
        )
    return texts


async def bare_pushes(endpoints: SimulatorEndpoints, bodies: Sequence[bytes], in_flight: int = 200) -> None:
    """Post each body once, over as many HTTP/2 connections as `in_flight` needs."""
    authority = await asyncio.to_thread(Path(endpoints.fcm_ca).read_bytes)
    url = f"{endpoints.fcm_url}/v1/projects/bench/messages:send"
    clients = [
        ClientBuilder().http2(True).add_root_certificate_pem(authority).build()
        for _ in range(max(1, in_flight // _PER_CONNECTION))
    ]
    remaining = iter(bodies)

    async def post(client: Client) -> None:
        for body in remaining:
            answer = await client.post(url).bearer_auth("bench").body_bytes(body).build().send()
            await answer.bytes()
            if answer.status != 200:
                raise SystemExit(f"the sink responded with {answer.status}")

    await post_first(clients, url)
    await asyncio.gather(*(post(clients[n % len(clients)]) for n in range(in_flight)))
    for client in clients:
        await client.close()


async def post_first(clients: Sequence[Client], url: str) -> None:
    """Make one call on each client, so that many concurrent calls do not open a connection each."""
    for client in clients:
        await (await client.get(url.replace("/v1/", "/none/")).build().send()).bytes()


async def bare_mails(endpoints: SimulatorEndpoints, mails: Sequence[tuple[bytes, bytes]], connections: int = 8) -> None:
    """Hand over each mail, with the envelope in one write, on a reused connection."""
    remaining = iter(mails)

    async def dialogue() -> None:
        reader, writer = await asyncio.open_connection(endpoints.smtp_host, endpoints.smtp_port)
        await reader.readline()
        writer.write(b"EHLO bench\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        for envelope, text in remaining:
            writer.write(envelope)
            for _ in range(3):
                await reader.readline()
            writer.write(text)
            if not (await reader.readline()).startswith(b"250"):
                raise SystemExit("the sink did not accept a mail")
        writer.close()

    await asyncio.gather(*(dialogue() for _ in range(connections)))
