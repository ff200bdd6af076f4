"""Scripted faults: how to answer a call, by its address or as set in the control API.

By address: a push token `fault-429x2-…`, a mail `anna+fault.dead@…`, a webhook path `/fault-reset-…`. `x2` means the
first two calls for one message, afterwards it is accepted; without a count, each call. A phone number cannot contain
words, so its last seven digits encode it: `999`, the count (0: each call), and one of PHONE_CODES: +4915119992429 is
429x2.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """Faults; each protocol expresses them in its own words."""

    TOO_MANY = "429"  # with Retry-After
    UNAVAILABLE = "503"  # with Retry-After
    INTERNAL = "500"
    GREYLISTED = "451"  # mail: 451 4.7.1, try again later
    DEAD = "dead"  # 404 UNREGISTERED, 550 5.1.1, 21211, 410
    MISMATCH = "mismatch"  # 403 SENDER_ID_MISMATCH
    INVALID = "invalid"  # 400 INVALID_ARGUMENT, 553 5.1.3, 21211
    APNS = "apns"  # 401 THIRD_PARTY_AUTH_ERROR
    STOPPED = "stopped"  # SMS: 21610, the recipient has replied STOP
    FULL = "full"  # mail: 452 4.2.2
    BLOCKED = "blocked"  # mail: 554 5.7.1 after DATA
    DEAD_AFTER_DATA = "dead-after-data"  # mail: 550 5.1.1, but only after DATA
    TIMEOUT_ACCEPTED = "timeout-accepted"  # accepted, and never answered
    TIMEOUT_REFUSED = "timeout-refused"  # neither accepted nor answered
    TIMEOUT_RECEIPT = "timeout-receipt"  # accepted and never answered; a receipt comes late
    RESET = "reset"  # the connection is cut, not accepted
    RESET_ACCEPTED = "reset-accepted"  # accepted, then the connection is cut
    LATE_RECEIPT = "late-receipt"  # accepted; its receipt comes late
    DOUBLE_RECEIPT = "double-receipt"  # accepted; its receipt comes twice
    UNDELIVERED = "undelivered"  # accepted; the receipt says that it failed
    BOUNCE = "bounce"  # mail: accepted, then a bounce mail 5.1.1
    BOUNCE_FULL = "bounce-full"  # mail: accepted, then a bounce mail 5.2.2
    BOUNCE_DELAYED = "bounce-delayed"  # mail: accepted, then a report of a delay, 4.4.1
    COMPLAINT = "complaint"  # mail: accepted, then a feedback report (RFC 5965)
    SLOW = "slow"  # accepted; the answer is delayed


# accepted, whatever the caller sees
ACCEPTING = frozenset(
    {
        Fault.TIMEOUT_ACCEPTED,
        Fault.TIMEOUT_RECEIPT,
        Fault.RESET_ACCEPTED,
        Fault.LATE_RECEIPT,
        Fault.DOUBLE_RECEIPT,
        Fault.UNDELIVERED,
        Fault.BOUNCE,
        Fault.BOUNCE_FULL,
        Fault.BOUNCE_DELAYED,
        Fault.COMPLAINT,
        Fault.SLOW,
    }
)
HANGING = frozenset({Fault.TIMEOUT_ACCEPTED, Fault.TIMEOUT_REFUSED, Fault.TIMEOUT_RECEIPT})
CUTTING = frozenset({Fault.RESET, Fault.RESET_ACCEPTED})

PHONE_CODES: dict[str, Fault] = {
    "429": Fault.TOO_MANY,
    "503": Fault.UNAVAILABLE,
    "500": Fault.INTERNAL,
    "404": Fault.DEAD,
    "610": Fault.STOPPED,
    "408": Fault.TIMEOUT_ACCEPTED,
    "409": Fault.TIMEOUT_REFUSED,
    "407": Fault.TIMEOUT_RECEIPT,
    "499": Fault.RESET,
    "498": Fault.RESET_ACCEPTED,
    "202": Fault.LATE_RECEIPT,
    "208": Fault.DOUBLE_RECEIPT,
    "300": Fault.UNDELIVERED,
    "299": Fault.SLOW,
}

_NAMES = "|".join(sorted((re.escape(fault.value) for fault in Fault), key=len, reverse=True))
_IN_ADDRESS = re.compile(rf"(?:\+fault\.|(?:^|/)fault-)({_NAMES})(?:x(\d{{1,6}}))?(?![a-z0-9])", re.IGNORECASE)
_IN_PHONE = re.compile(r"999(\d)(\d{3})$")


@dataclass(frozen=True, slots=True)
class Scripted:
    """A fault for the first `count` calls of a message; 0: for each."""

    fault: Fault
    count: int = 0


def of_address(address: str) -> Scripted | None:
    """Return the fault in a token, mail address or URL."""
    if "fault" not in address.lower():
        return None
    found = _IN_ADDRESS.search(address)
    return Scripted(Fault(found[1].lower()), int(found[2] or 0)) if found else None


def of_phone(number: str) -> Scripted | None:
    """Return the fault in a phone number's last digits."""
    found = _IN_PHONE.search(number)
    fault = PHONE_CODES.get(found[2]) if found else None
    return Scripted(fault, int(found[1])) if found and fault else None


@dataclass(slots=True)
class Script:
    """A fault for a whole channel: until a time, for a number of calls, or for a share of them."""

    channel: str
    fault: Fault
    until: float | None = None  # seconds of the simulator's clock
    remaining: int | None = None
    share: float = 1.0


@dataclass(slots=True)
class Faults:
    """The active scripts. `clock` and `chance` are parameters, so that tests control them."""

    clock: Callable[[], float]
    chance: Callable[[], float] = random.random
    scripts: list[Script] = field(default_factory=list)
    _calls: dict[tuple[str, object], int] = field(default_factory=dict)

    def add(self, script: Script) -> None:
        self.scripts.append(script)

    def clear(self) -> None:
        """Remove the scripts and the counts of calls per message."""
        self.scripts.clear()
        self._calls.clear()

    def of_channel(self, channel: str) -> Fault | None:
        """Return the fault that the control API has set for all calls of a channel, if one is active."""
        if not self.scripts:
            return None
        now = self.clock()
        self.scripts = [s for s in self.scripts if s.remaining != 0 and (s.until is None or now < s.until)]
        for script in self.scripts:
            if script.channel == channel and (script.share >= 1.0 or self.chance() < script.share):
                if script.remaining is not None:
                    script.remaining -= 1
                return script.fault
        return None

    def of_message(self, channel: str, scripted: Scripted | None, tag: object) -> Fault | None:
        """Return the fault of another call for the message `tag`, whose address has this script."""
        if scripted is None:
            return None
        if scripted.count == 0:
            return scripted.fault
        calls = self._calls.get((channel, tag), 0) + 1
        self._calls[(channel, tag)] = calls
        return scripted.fault if calls <= scripted.count else None
