"""A mail server on a real socket with scripted quirks: a test double, not a mail server."""

import asyncio
import base64
import ssl
from dataclasses import dataclass, field


@dataclass
class Accepted:
    """A mail that the server accepted: envelope and text, dots unstuffed."""

    sender: str
    recipient: str
    text: bytes


@dataclass
class MailServer:
    """The recipient's local part selects the behaviour: see `_recipient` and `_text`.

    `chunking`: the server offers CHUNKING; "lenient" also accepts BDAT without a recipient, "only-said" does not
    implement it.
    """

    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000")
    greeting: tuple[str, ...] = ("220 mail.test ESMTP",)
    chunking: str = ""
    takes_ehlo: bool = True
    context: ssl.SSLContext | None = None
    implicit: bool = False
    users: dict[str, str] = field(default_factory=dict)
    mails_per_connection: int = 10_000
    chunk: int = 0  # replies are written in pieces of so many bytes
    pause: float = 0.0  # seconds before it answers each text
    command_pause: float = 0.0  # seconds before it answers each command
    accepted: list[Accepted] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    connections: int = 0
    encrypted: int = 0
    most_in_one_read: int = 0  # commands that arrived in one packet
    most_mails_in_one_read: int = 0
    port: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "MailServer":
        context = self.context if self.implicit else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await _Session(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has disconnected, or the test has ended
        finally:
            writer.close()
            self._tasks.discard(task)


class _Session:
    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.pending: list[str] = []
        self.sender: str | None = None
        self.recipient: str | None = None
        self.mails = 0
        self.is_encrypted = server.implicit

    async def say(self, *lines: str) -> None:
        data = "".join(f"{line}\r\n" for line in lines).encode()
        step = self.server.chunk or len(data)
        for at in range(0, len(data), step):
            self.writer.write(data[at : at + step])
            await self.writer.drain()
            if self.server.chunk:
                await asyncio.sleep(0.001)

    async def line(self) -> str:
        raw = await self.reader.readuntil(b"\r\n")
        buffered = bytes(self.reader._buffer)  # type: ignore[attr-defined]
        self.server.most_in_one_read = max(self.server.most_in_one_read, 1 + buffered.count(b"\r\n"))
        self.server.most_mails_in_one_read = max(self.server.most_mails_in_one_read, buffered.count(b"MAIL FROM:"))
        return raw[:-2].decode()

    async def run(self) -> None:
        await self.say(*self.server.greeting)
        if not self.server.greeting[-1].startswith("220"):
            return
        while True:
            line = await self.line()
            self.server.lines.append(line)
            await asyncio.sleep(self.server.command_pause)
            verb = line.partition(" ")[0].upper().partition(":")[0]
            if not await self._command(verb, line):
                return

    async def _command(self, verb: str, line: str) -> bool:
        match verb:
            case "EHLO" if self.server.takes_ehlo:
                offered = list(self.server.extensions)
                if self.server.chunking:
                    offered.append("CHUNKING")
                if self.server.context is not None and not self.is_encrypted:
                    offered.append("STARTTLS")
                lines = ["mail.test greets you", *offered]
                await self.say(*(f"250-{text}" for text in lines[:-1]), f"250 {lines[-1]}")
            case "EHLO":
                await self.say("502 5.5.1 unknown")
            case "HELO" | "NOOP":
                await self.say("250 hello")
            case "STARTTLS":
                await self._starttls()
            case "AUTH":
                await self._auth(line)
            case "MAIL":
                return await self._mail(line)
            case "RCPT":
                return await self._recipient(line)
            case "DATA":
                return await self._data()
            case "BDAT" if self.server.chunking not in ("", "only-said"):
                return await self._chunk(line)
            case "RSET":
                self.sender = self.recipient = None
                await self.say("250 2.0.0 forgotten")
            case "QUIT":
                await self.say("221 2.0.0 bye")
                return False
            case _:
                await self.say("500 5.5.2 what?")
        return True

    async def _starttls(self) -> None:
        assert self.server.context is not None
        await self.say("220 2.0.0 go ahead")
        await self.writer.start_tls(self.server.context)
        self.is_encrypted = True
        self.server.encrypted += 1

    async def _auth(self, line: str) -> None:
        words = line.split()
        if words[1] == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            if len(words) == 2:  # no initial response
                await self.say("334 VXNlcm5hbWU6")
                words.append(await self.line())
            user = base64.b64decode(words[2]).decode()
            await self.say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self.line()).decode()
        right = self.server.users.get(user) == password
        await self.say("235 2.7.0 welcome" if right else "535 5.7.8 wrong password")

    async def _mail(self, line: str) -> bool:
        if self.mails >= self.server.mails_per_connection:
            await self.say("421 4.7.0 enough for this connection")
            return False
        if self.sender is not None:
            await self.say("503 5.5.1 nested MAIL")
            return True
        self.sender = line.partition("<")[2].partition(">")[0]
        await self.say("250 2.1.0 ok")
        return True

    async def _recipient(self, line: str) -> bool:
        address = line.partition("<")[2].partition(">")[0]
        match address.partition("@")[0]:
            case "dead":
                await self.say("550-5.1.1 no such user", "550 5.1.1 here")
            case "dead-plain":
                await self.say("550 no such user")
            case "greylisted":
                await self.say("451 4.7.1 come back later")
            case "full":
                await self.say("452 4.2.2 mailbox full")
            case "policy":
                await self.say("554 5.7.1 refused by policy")
            case "busy":
                await self.say("421 4.3.2 shutting down")
                return False
            case "vanishes":
                return False
            case "silent":
                await asyncio.sleep(30)
            case local:
                await asyncio.sleep(0.4 if local == "ponders" else 0)
                self.recipient = address
                await self.say("250 2.1.5 ok")
        return True

    async def _data(self) -> bool:
        if self.recipient is None and "LENIENT-DATA" not in self.server.extensions:
            await self.say("503 5.5.1 no valid recipients")
            return True
        await self.say("354 go ahead")
        text = b""
        while not (text == b".\r\n" or text.endswith(b"\r\n.\r\n")):
            text += await self.reader.readuntil(b"\r\n")
        if self.recipient is None:
            await self.say("554 5.5.1 no valid recipients")
            return True
        return await self._text(text[:-3].replace(b"\r\n..", b"\r\n."))

    async def _chunk(self, line: str) -> bool:
        _, octets, last = line.split()
        assert last == "LAST", "our dialogue sends each mail in one chunk"
        text = await self.reader.readexactly(int(octets))
        if self.recipient is not None:
            return await self._text(text)
        # the transaction stays open: without RSET the next MAIL is refused
        await self.say("250 2.0.0 gladly" if self.server.chunking == "lenient" else "503 5.5.1 no valid recipients")
        return True

    async def _text(self, text: bytes) -> bool:
        sender, recipient = self.sender or "", self.recipient or ""
        self.sender = self.recipient = None
        local = recipient.partition("@")[0]
        if local == "spam":
            await self.say("554 5.7.1 looks like spam")
            return True
        if local == "later":
            await self.say("451 4.3.0 try again later")
            return True
        self.mails += 1
        self.server.accepted.append(Accepted(sender, recipient, text))
        self.server.arrived.set()
        await asyncio.sleep(self.server.pause)
        if local == "accepted-then-gone":
            return False
        if local.startswith("accepted-then-s"):
            await asyncio.sleep(30 if local.endswith("silent") else 0.2)  # or slow
        await self.say(f"250 2.0.0 Ok: queued as {len(self.server.accepted):06d}")
        return local != "last"
