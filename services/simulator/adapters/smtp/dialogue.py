"""The state of an SMTP dialogue: what the commands read and change, and the replies to send."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from services.simulator.adapters.smtp.policy import Policy
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import Fault


@dataclass(slots=True)
class Chunk:
    """The octets that follow a BDAT. `refusal` is sent after they have been read and discarded, as the RFC requires."""

    octets: int
    is_last: bool
    refusal: str


@dataclass(eq=False)
class Dialogue(asyncio.Protocol, ABC):
    """The state of a session, which does the reading. `stuck`: it hangs and reads no more; `paused`: a reply is
    delayed."""

    exchange: Exchange
    policy: Policy
    sender: str | None = None
    recipients: list[tuple[str, Fault | None]] = field(default_factory=list)
    greeted: bool = False
    secure: bool = False
    user: str | None = None
    login: list[str] | None = None  # the lines of AUTH so far
    transport: asyncio.Transport = field(init=False)
    buffer: bytes = b""
    stuck: bool = False
    paused: bool = False
    utf8: bool = False
    channel_fault: Fault | None = None  # from a script for the whole channel, found at MAIL
    upgrading: "asyncio.Future[None] | None" = None  # keeps the task of STARTTLS alive
    chunk: Chunk | None = None  # announced, and not complete yet
    chunks: list[bytes] = field(default_factory=list)  # the chunks of this mail so far
    refused: bool = False  # a chunk of this mail: the following ones are refused too
    _data: bool = False
    _searched: int = 0
    _too_big: bool = False
    _replies: list[bytes] = field(default_factory=list)

    @abstractmethod
    def work(self) -> None:
        """Process the complete part of what has been read."""

    def reply(self, text: str) -> None:
        self._replies.append(text.encode() + b"\r\n")

    def flush(self) -> None:
        """Send the replies, unless one is delayed."""
        if self.paused or not self._replies:
            return
        if not self.transport.is_closing():
            self.transport.write(b"".join(self._replies))
        self._replies.clear()

    def resume(self) -> None:
        """Continue after a pause."""
        self.paused = False
        self.work()

    def reset(self) -> None:
        """Reset the transaction, not the greeting."""
        self.sender, self.channel_fault = None, None
        self.recipients, self.chunks, self.refused = [], [], False

    def begin_data(self) -> None:
        self._data, self._searched, self._too_big = True, 0, False
