"""Outgoing traffic on real sockets: callbacks over HTTP, reports over SMTP."""

import asyncio
from collections.abc import Mapping

import httpcore

from libs.http_connections import FAILURES, Connections
from libs.http_replies import trusted
from services.simulator.domain.reports import HOST

_TIMEOUT_SECONDS = 10.0
_MOST_IDLE = 20


class SocketOutgoing:
    """One HTTP client; one SMTP connection per report, as other mail servers do."""

    def __init__(self) -> None:
        self._connections = Connections(trusted(None), _MOST_IDLE)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int | None:
        try:
            where = httpcore.URL(url)
            if where.scheme not in (b"https", b"http"):
                return None
            async with self._connections.lend(where.origin) as connection, asyncio.timeout(_TIMEOUT_SECONDS):
                answer = await connection.request("POST", where, headers=list(headers.items()), content=body)
        except (*FAILURES, TypeError):  # httpcore raises TypeError for a URL that is not ASCII
            return None
        return answer.status

    async def send_mail(self, host: str, port: int, to: str, raw: bytes) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await _dialogue(host, port, to, raw)
        except (OSError, TimeoutError, EOFError, ValueError):
            return False

    async def close(self) -> None:
        await self._connections.close()


async def _dialogue(host: str, port: int, to: str, raw: bytes) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        stuffed = raw.replace(b"\r\n.", b"\r\n..")
        # a report has no reverse path, so that no other report can answer it (RFC 5321 §4.5.5)
        steps = [
            (None, 220),
            (f"EHLO {HOST}", 250),
            ("MAIL FROM:<>" + ("" if to.isascii() else " SMTPUTF8"), 250),
            (f"RCPT TO:<{to}>", 250),
            ("DATA", 354),
        ]
        for line, wanted in steps:
            if line is not None:
                writer.write(line.encode() + b"\r\n")
            if await _reply(reader) != wanted:
                return False
        writer.write(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        taken = await _reply(reader) == 250
        writer.write(b"QUIT\r\n")
        await _reply(reader)
        return taken
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader) -> int:
    while True:
        line = await reader.readline()
        if len(line) < 4:
            raise EOFError
        if line[3:4] != b"-":
            return int(line[:3])
