"""The shop's customers: generated from a seed, so that a day can be counted before it is sent.

Some have a phone number that does not exist, a removed app, a mailbox that bounces, a provider that answers slowly: the
simulator reads the fault from the address.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST = (
    "Ada",
    "Björn",
    "Chiara",
    "Dilek",
    "Emil",
    "Fatima",
    "Greta",
    "Hugo",
    "Ines",
    "Jan",
    "Köksal",
    "Lea",
    "משה",
    "ليلى",
)
LAST = ("Öztürk", "Meier", "Nowak", "García", "Ibrahim", "Jensen", "Weiß", "O’Neill", "Kovács", "Dubois")
LOCALES = ("de", "de", "de-AT", "en", "en-GB")

# share of customers per fault, by channel
_FAULTS = {
    "push": (("dead", 0.01), ("429x1", 0.01), ("503x1", 0.01), ("timeout-acceptedx1", 0.002)),
    "email": (("bounce", 0.005), ("dead", 0.005), ("451x1", 0.01), ("timeout-acceptedx1", 0.002)),
}
_BAD_PHONE = 0.01
_NO_APP = 0.1
_TWO_DEVICES = 0.08
_CONSENT = 0.7


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer with the generator's knowledge."""

    number: int
    first_name: str
    last_name: str
    locale: str
    email: str
    phone: str
    devices: tuple[str, ...]
    topics: frozenset[str]
    push_fault: str
    bad_phone: bool

    @property
    def key(self) -> str:
        return f"customer:{self.number}"

    @property
    def app_removed(self) -> bool:
        return self.push_fault == "dead"


def customers(count: int, seed: int = 1) -> list[Customer]:
    """Return `count` customers, the same ones for the same seed."""
    dice = random.Random(seed)
    return [_customer(100_001 + index, dice) for index in range(count)]


def _nobodys(number: int) -> str:
    """Return a nonexistent number of this customer's own: if two shared it, it would soon be barred for both."""
    thousand, rest = divmod(number - 100_001, 1_000)
    return f"+43{('650', '660', '664', '676', '680', '681', '688', '699', '677', '670')[thousand]}{rest:03d}9990404"


def _customer(number: int, dice: random.Random) -> Customer:
    push_fault, mail_fault = _fault(dice, "push"), _fault(dice, "email")
    bad_phone = dice.random() < _BAD_PHONE
    topics = frozenset(topic for topic in ("price-alerts", "back-in-stock") if dice.random() < _CONSENT)
    return Customer(
        number=number,
        first_name=dice.choice(FIRST),
        last_name=dice.choice(LAST),
        locale=dice.choice(LOCALES),
        email=f"c{number}{f'+fault.{mail_fault}' if mail_fault else ''}@mail.example",
        # to the simulator 999, a count and 404 at the end mean a number that does not exist
        phone=f"+491522{number:07d}" if not bad_phone else _nobodys(number),
        devices=_devices(number, push_fault, dice),
        topics=topics,
        push_fault=push_fault,
        bad_phone=bad_phone,
    )


def _fault(dice: random.Random, channel: str) -> str:
    drawn = dice.random()
    for fault, share in _FAULTS[channel]:
        if drawn < share:
            return fault
        drawn -= share
    return ""


def _devices(number: int, fault: str, dice: random.Random) -> tuple[str, ...]:
    if fault:
        return (f"fault-{fault}-{number:08d}-app-token",)
    drawn = dice.random()
    if drawn < _NO_APP:
        return ()
    tokens = tuple(f"device-{number:08d}-{part}-app-token" for part in ("phone", "tablet"))
    return tokens if drawn < _NO_APP + _TWO_DEVICES else tokens[:1]


def row(one: Customer) -> dict[str, Any]:
    """Return a line of the import file."""
    return {
        "key": one.key,
        "first_name": one.first_name,
        "last_name": one.last_name,
        "locale": one.locale,
        "zone": "Europe/Berlin",
        "emails": [one.email],
        "phones": [one.phone],
        "devices": [{"token": token, "installation": f"app-{token}"} for token in one.devices],
        "consents": [
            {"topic": topic, "channel": channel, "granted": True, "how": "account page", "text_version": "2026-01"}
            for topic in sorted(one.topics)
            for channel in ("push", "email")
        ],
    }


def write(people: list[Customer], path: Path) -> None:
    """Write the import file, as NDJSON."""
    with path.open("w", encoding="utf-8") as file:
        for one in people:
            file.write(json.dumps(row(one), ensure_ascii=False) + "\n")
