"""A day of the shop's events, and the messages they must produce, counted from the shop's own files.

The count uses the rules that the shop's people know: a confirmation goes to the mailbox, a parcel's news to the app or
else the mailbox, a price alarm to each watcher's devices. It never reads the ledger.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from examples.shop.people import Customer

SOURCE = "https://shop.example/events"
PRODUCTS = ("Kaffeemühle", "Leinenhemd", "Lampe „Mond“", "Fahrradhelm 🚲", "Teekanne", "Wanderschuh")
REPEATED = 0.05
MALFORMED = 100
_STALE = timedelta(hours=3)


@dataclass
class Day:
    """The lines to send, and the expected messages."""

    lines: list[bytes] = field(default_factory=list)
    received: int = 0
    distinct: int = 0
    repeated: int = 0
    malformed: int = 0
    expected: Counter[str] = field(default_factory=Counter)  # messages by communication
    questions: dict[str, list[str]] = field(default_factory=dict)  # questions that support could ask

    def write(self, path: Path) -> None:
        path.write_bytes(b"\n".join(self.lines) + b"\n")


@dataclass(frozen=True, slots=True)
class Made:
    """One event: type, order or product number, data, and the messages that it must produce."""

    type: str
    subject: str
    data: dict[str, Any]
    messages: dict[str, int]
    stale: bool = False


class Shop:
    """Generates events about its customers."""

    def __init__(self, people: list[Customer], seed: int) -> None:
        self.dice = random.Random(seed)
        self.people = people
        # a customer with a wrong number or a removed app gets at most one such event: afterwards the dead address is
        # retired, and the number of remaining addresses would depend on timing
        self.good_phones = [one for one in people if not one.bad_phone]
        self.bad_phones = iter([one for one in people if one.bad_phone])
        self.with_app_or_none = [one for one in people if not one.app_removed]
        self.orders = 0
        self.questions: dict[str, list[str]] = {}

    def order_placed(self) -> Made:
        one = self.dice.choice(self.people)
        self.questions.setdefault("sent", ["--order", f"B-{20_001 + self.orders}"])
        return Made("order.placed", self._order(), self._order_data(one), {"order-confirmation": 1})

    def parcel_shipped(self) -> Made:
        one = self.dice.choice(self.people)
        picked_up = self.dice.random() < 0.05
        data = self._order_data(one) | {
            "carrier": "pickup" if picked_up else "DHL",
            "tracking_url": "https://track.example/00340434161094042557",
        }
        # one or several devices: the first usable channel is the app wherever it is installed
        messages = {} if picked_up else {"parcel-shipped": max(1, len(one.devices))}
        return Made("parcel.shipped", self._order(), data, messages)

    def order_cancelled(self) -> Made:
        one = self.dice.choice(self.with_app_or_none)
        return Made("order.cancelled", self._order(), self._order_data(one), {"order-cancelled": 1 + len(one.devices)})

    def login_requested(self) -> Made:
        one = next(self.bad_phones, None) if self.dice.random() < 0.02 else None
        person = one or self.dice.choice(self.good_phones)
        if one:
            self.questions.setdefault("second step", _about(one, "one-time-code"))
        data = {"customer": person.key, "code": f"{self.dice.randrange(1_000_000):06d}"}
        stale = one is None and self.dice.random() < 0.01
        # a number that does not exist fails permanently, then the mailbox is tried: two messages; a code that comes too
        # late is not even requested
        return Made(
            "login.requested",
            f"login-{self.dice.getrandbits(40)}",
            data,
            {} if stale else {"one-time-code": 2 if one else 1},
            stale,
        )

    def price_dropped(self) -> Made:
        watchers = self.dice.sample(self.people, self.dice.randint(1, 20))
        before = self.dice.randrange(2_000, 20_000)
        small = self.dice.random() < 0.1
        now = before * (97 if small else 80) // 100
        data = self._product(before, now, watchers)
        count = sum(max(1, len(one.devices)) if "price-alerts" in one.topics else 1 for one in watchers)
        if not small and "price-alerts" not in watchers[0].topics:
            self.questions.setdefault("no consent", _about(watchers[0], "price-alarm"))
        return Made("price.dropped", data["product"]["sku"], data, {} if small else {"price-alarm": count})

    def product_restocked(self) -> Made:
        watchers = self.dice.sample(self.with_app_or_none, self.dice.randint(1, 20))
        data = self._product(4_990, 4_990, watchers)
        count = sum(1 + len(one.devices) if "back-in-stock" in one.topics else 1 for one in watchers)
        return Made("product.restocked", data["product"]["sku"], data, {"back-in-stock": count})

    def page_viewed(self) -> Made:
        return Made("page.viewed", "home", {"customer": self.dice.choice(self.people).key}, {})

    def _order(self) -> str:
        self.orders += 1
        return f"B-{20_000 + self.orders}"

    def _order_data(self, one: Customer) -> dict[str, Any]:
        cents = self.dice.randrange(990, 29_900)
        return {
            "customer": one.key,
            "order_id": 700_000_000_000_000_000 + self.orders,
            "total": f"{cents // 100}.{cents % 100:02d}",
            "currency": "EUR",
            "items": [{"name": self.dice.choice(PRODUCTS), "quantity": self.dice.randint(1, 3)}],
        }

    def _product(self, before: int, now: int, watchers: list[Customer]) -> dict[str, Any]:
        sku = f"SKU-{self.dice.randrange(10_000):05d}"
        return {
            "product": {"sku": sku, "name": self.dice.choice(PRODUCTS), "url": f"https://shop.example/p/{sku}"},
            "price_before": f"{before // 100}.{before % 100:02d}",
            "price_now": f"{now // 100}.{now % 100:02d}",
            "percent": (before - now) * 100 // before,
            "watchers": [one.key for one in watchers],
        }


def _about(one: Customer, communication: str) -> list[str]:
    return ["--recipient", one.key, "--communication", communication]


_SHARES: tuple[tuple[float, Callable[[Shop], Made]], ...] = (
    (0.36, Shop.order_placed),
    (0.30, Shop.parcel_shipped),
    (0.14, Shop.login_requested),
    (0.07, Shop.order_cancelled),
    (0.02, Shop.price_dropped),
    (0.01, Shop.product_restocked),
    (0.10, Shop.page_viewed),
)


def make_day(people: list[Customer], count: int, now: datetime | None = None, seed: int = 2) -> Day:
    """Generate `count` distinct events, 5 % of them sent twice, and 100 malformed lines among them."""
    shop = Shop(people, seed)
    day = Day()
    moment = now or datetime.now(UTC)
    for number, made in enumerate(_events(shop, count)):
        written = line(made, f"{seed}-{number}", moment)
        day.lines.append(written)
        day.distinct += 1
        day.expected.update(made.messages)
        if shop.dice.random() < REPEATED:
            day.lines.append(written)
            day.repeated += 1
    for number in range(MALFORMED):
        day.lines.insert(shop.dice.randrange(len(day.lines)), _MALFORMED[number % len(_MALFORMED)])
        day.malformed += 1
    day.received = len(day.lines)
    day.questions = shop.questions
    return day


def _events(shop: Shop, count: int) -> Iterator[Made]:
    weights, makers = zip(*_SHARES, strict=True)
    for make in shop.dice.choices(makers, weights, k=count):
        yield make(shop)


def line(made: Made, id_: str, now: datetime) -> bytes:
    """Return the event as the shop's system writes it."""
    event = {
        "specversion": "1.0",
        "id": id_,
        "source": SOURCE,
        "type": made.type,
        "subject": made.subject,
        "time": (now - _STALE if made.stale else now).isoformat(),
        "datacontenttype": "application/json",
        "data": made.data,
    }
    return json.dumps(event, ensure_ascii=False).encode()


_MALFORMED = (
    b'{"specversion":"1.0","id":"cut',
    b'{"specversion":"1.0","source":"https://shop.example/events","type":"order.placed","data":{}}',
    b'{"specversion":"0.3","id":"m-1","source":"https://shop.example/events","type":"order.placed","data":{}}',
    b'{"specversion":"1.0","id":"m-2","source":"https://shop.example/events","type":"order.placed","data":{"total":NaN}}',
    b'{"specversion":"1.0","id":"m-3","id":"m-4","source":"https://shop.example/events","type":"order.placed"}',
)
