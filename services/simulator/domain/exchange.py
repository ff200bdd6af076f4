"""The state of a running simulator, in one place: scripts, counters, and what is still to send."""

from collections.abc import Callable
from dataclasses import dataclass, field

from services.simulator.domain.agenda import Agenda
from services.simulator.domain.arrivals import Arrivals
from services.simulator.domain.faults import Faults
from services.simulator.domain.tally import Tally

CHANNELS = ("push", "email", "sms", "webhook")
SMS_LIST = "sms-list"  # not a channel: queries about SMS, for which scripts may set faults too
SCRIPTED = (*CHANNELS, SMS_LIST)
ALIASES = {"fcm": "push", "smtp": "email", "mail": "email", "twilio": "sms"}


@dataclass(slots=True)
class Targets:
    """Where it sends receipts and mails; may be set later, when the suite's ports are known."""

    callback_url: str = ""
    bounce_host: str = "127.0.0.1"
    bounce_port: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """How long its faults and receipts take and when the SMS list shows a message (seconds), and what share of messages
    gets receipts (0 to 1)."""

    retry_after: int = 1
    hang: float = 120.0
    slow: float = 0.5
    late: float = 3.0
    receipt: float = 0.2
    delivered_share: float = 0.0
    opened_share: float = 0.0
    listed: float = 1.0


@dataclass(slots=True)
class Sent:
    """The outcome of what it sent."""

    delivered: int = 0
    failed: int = 0


@dataclass(slots=True)
class Exchange:
    """Shared by all its protocols. `clock` counts seconds (monotonic), `unix` Unix milliseconds."""

    clock: Callable[[], float]
    unix: Callable[[], int]
    chance: Callable[[], float]
    faults: Faults
    arrivals: Arrivals
    timing: Timing = field(default_factory=Timing)
    targets: Targets = field(default_factory=Targets)
    agenda: Agenda = field(default_factory=Agenda)
    callbacks: Sent = field(default_factory=Sent)
    bounces: Sent = field(default_factory=Sent)
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally(name) for name in CHANNELS})

    def reset(self) -> None:
        """Restore the initial state: no counters, messages, scripts or items to send."""
        for tally in self.tallies.values():
            tally.clear()
        self.arrivals.clear()
        self.faults.clear()
        self.agenda.clear()
        self.callbacks, self.bounces = Sent(), Sent()
