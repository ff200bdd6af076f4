"""What one SMTP dialogue has come to: what the commands read and change, and the replies that wait to go out."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from services.simulator.adapters.smtp.policy import Policy
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import Fault


@dataclass(slots=True)
class Chunk:
    """What follows a BDAT. `refusal` is said when its octets have been read and thrown away, as the standard has it."""

    octets: int
    is_last: bool
    refusal: str


@dataclass(eq=False)
class Dialogue(asyncio.Protocol, ABC):
    """The state of a session, which reads beside it. `stuck`: we hang and read no more; `paused`: an answer takes its
    time."""

    exchange: Exchange
    policy: Policy
    sender: str | None = None
    recipients: list[tuple[str, Fault | None]] = field(default_factory=list)
    greeted: bool = False
    secure: bool = False
    user: str | None = None
    login: list[str] | None = None  # what AUTH has heard so far
    transport: asyncio.Transport = field(init=False)
    buffer: bytes = b""
    stuck: bool = False
    paused: bool = False
    utf8: bool = False
    channel_fault: Fault | None = None  # of a script for the whole channel, found at MAIL
    upgrading: "asyncio.Future[None] | None" = None  # keeps the task of STARTTLS alive
    chunk: Chunk | None = None  # announced, and not yet here in full
    chunks: list[bytes] = field(default_factory=list)  # of this mail, that have come
    refused: bool = False  # one of its chunks: none that follows is taken
    _data: bool = False
    _searched: int = 0
    _too_big: bool = False
    _replies: list[bytes] = field(default_factory=list)

    @abstractmethod
    def work(self) -> None:
        """Go through what has been read, as far as it is complete."""

    def reply(self, text: str) -> None:
        self._replies.append(text.encode() + b"\r\n")

    def flush(self) -> None:
        """Send the replies, but while an answer takes its time."""
        if self.paused or not self._replies:
            return
        if not self.transport.is_closing():
            self.transport.write(b"".join(self._replies))
        self._replies.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        self.work()

    def reset(self) -> None:
        """Forget the transaction, not the greeting."""
        self.sender, self.channel_fault = None, None
        self.recipients, self.chunks, self.refused = [], [], False

    def begin_data(self) -> None:
        self._data, self._searched, self._too_big = True, 0, False
