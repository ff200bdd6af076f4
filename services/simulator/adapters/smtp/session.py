"""One SMTP session as an asyncio protocol: RFC 5321 with PIPELINING, CHUNKING, SIZE, 8BITMIME, SMTPUTF8,
ENHANCEDSTATUSCODES, STARTTLS and AUTH. Replies to one read go out in one write."""

import asyncio
import re
from typing import cast

from services.simulator.adapters.smtp.chunks import received
from services.simulator.adapters.smtp.commands import COMMANDS, authenticate, refused_mail, scripted_end
from services.simulator.adapters.smtp.dialogue import Chunk, Dialogue
from services.simulator.adapters.smtp.policy import Policy
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.mail import tag_and_attempt, unstuffed
from services.simulator.domain.reports import HOST
from services.simulator.handlers import accept, lose

_LINE_BYTES = 12_288  # RFC 4954 §4: AUTH needs the most
_END = b"\r\n.\r\n"
# what a sender at full speed writes: plain commands in one piece. Parsed together, they cost half as much; anything
# unusual in them takes the general path through COMMANDS.
_ENVELOPE = re.compile(
    rb"(RSET\r\n)?MAIL FROM:<([\w.-]{1,64}@[\w.-]{1,180})>(?: SIZE=(\d{1,9}))?(?: BODY=8BITMIME)?\r\n"
    rb"RCPT TO:<([\w.-]{1,64}@[\w.-]{1,180})>\r\n(?:(DATA)\r\n|BDAT (\d{1,9}) LAST\r\n)?"
)
_FORGOTTEN = b"250 2.0.0 Ok\r\n"
_TAKEN = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
_GO_ON = b"354 End data with <CR><LF>.<CR><LF>\r\n"


class Session(Dialogue):
    """The dialogue with one client, one of the server's `sessions`."""

    def __init__(self, exchange: Exchange, policy: Policy, sessions: "set[Session]") -> None:
        super().__init__(exchange, policy)
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._sessions.add(self)
        if self.exchange.faults.scripts and self.policy.closed(self.exchange):
            transport.write(f"421 4.3.2 {HOST} Service not available, closing\r\n".encode())
            transport.close()
            return
        transport.write(f"220 {HOST} ESMTP Depesche simulator\r\n".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self)
        in_chunks = bool(self.chunks) or (self.chunk is not None and not self.chunk.refusal)
        if (self._data or (in_chunks and not self.refused)) and not self.stuck:
            lose(self.exchange, "email")

    def data_received(self, data: bytes) -> None:
        if self.stuck:
            return
        self.buffer = self.buffer + data if self.buffer else data
        if not self.paused:
            self.work()

    def work(self) -> None:
        """Process the complete part of what has been read."""
        while (self.buffer or self.chunk) and not (self.paused or self.stuck or self.transport.is_closing()):
            if not self._step():
                break
        self.flush()

    def _step(self) -> bool:
        """Process the next unit; return False if it is incomplete."""
        if self.chunk is not None:
            return self._chunk()
        return self._mail() if self._data else self._envelope() or self._line()

    def _envelope(self) -> bool:
        """Process a whole plain envelope at once; return False if it is not one, or might ask for a fault."""
        if self.sender is not None or not self.greeted or self.login is not None or self.exchange.faults.scripts:
            return False
        found = _ENVELOPE.match(self.buffer)
        if found is None or b"fault" in found[4].lower():
            return False
        octets = max(int(found[3] or 0), int(found[6] or 0))
        if octets > self.policy.mail_bytes or (found[6] is not None and not self.policy.chunking):
            return False
        if self.policy.username and self.user is None:
            return False
        self.sender, self.recipients = found[2].decode(), [(found[4].decode(), None)]
        self.buffer = self.buffer[found.end() :]
        self._replies.append(_FORGOTTEN + _TAKEN if found[1] else _TAKEN)
        if found[5] is not None:
            self.begin_data()
            self._replies.append(_GO_ON)
        elif found[6] is not None:
            self.chunk = Chunk(int(found[6]), is_last=True, refusal="")
        return True

    def _line(self) -> bool:
        end = self.buffer.find(b"\n")
        if end < 0:
            if len(self.buffer) > _LINE_BYTES:
                self.buffer = b""
                self.reply("500 5.5.2 Line too long")
                self.flush()
                self.transport.close()
            return False
        line, self.buffer = self.buffer[:end].rstrip(b"\r"), self.buffer[end + 1 :]
        text = line.decode("utf-8", "surrogateescape")
        if self.login is not None:
            authenticate(self, text)
            return True
        verb, _, argument = text.partition(" ")
        command = COMMANDS.get(verb.upper().strip())
        if command is None:
            self.reply("500 5.5.2 Command unrecognized")
        else:
            command(self, argument.strip())
        return True

    def _chunk(self) -> bool:
        """Read up to the end of a chunk; return True if it is complete."""
        mail = received(self)
        if mail is not None:
            self.chunks = []
            self._complete(mail)
            self.reset()
        return self.chunk is None

    def _mail(self) -> bool:
        """Read up to the end of the mail; return True if it is complete."""
        buffer = self.buffer
        if buffer.startswith(b".\r\n") and self._searched < 3:
            end, rest = 0, 3
        else:
            found = buffer.find(_END, max(self._searched - 4, 0))
            if found < 0:
                self._wait_for_more()
                return False
            end, rest = found + 2, found + 5
        mail, self.buffer, self._data = buffer[:end], buffer[rest:], False
        if self._too_big or len(mail) > self.policy.mail_bytes:
            refused_mail(self, "552 5.3.4 Message too big")
        else:
            self._complete(unstuffed(mail))
        self.reset()
        return True

    def _wait_for_more(self) -> None:
        if len(self.buffer) > self.policy.mail_bytes:
            self._too_big = True
            self.buffer = self.buffer[-4:]  # kept because the end mark may be split
        self._searched = len(self.buffer)

    def _complete(self, mail: bytes) -> None:
        """Answer a complete mail: by its recipients' faults, else accepted."""
        sender, exchange = self.sender or "", self.exchange
        tag, attempt = tag_and_attempt(sender, mail)
        several = len(self.recipients) > 1
        for address, fault in self.recipients:
            arrival = Arrival("email", address, f"{tag} {address}" if several else tag, attempt, mail, sender)
            if fault is not None:
                if scripted_end(self, arrival, fault):
                    return
            else:
                accept(exchange, arrival)
        self.reply(f"250 2.0.0 Ok: queued as {exchange.tallies['email'].calls:X}")
