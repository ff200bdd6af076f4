"""Queries providers about attempts with an unknown outcome, for communications with `on_unknown: verify`.

lease → read the open doubts → addresses from `tokens` → one query per sender and address → judge → record. No
connection is held during a query. A worker that dies here has changed nothing; its rows are queried again.
"""

import asyncio
import time
from binascii import a2b_base64
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from prometheus_client import Counter as Metric

from libs.clock import pause
from libs.contracts.outcomes import Channel, Mode
from libs.errors import Transient, Unavailable
from libs.telemetry import get_logger, span
from services.delivery.domain.breaker import State
from services.delivery.domain.outbound import Sender
from services.delivery.domain.planning import Recipient
from services.delivery.domain.verifying import Answer, Doubt, Judge, Learned, Unclear
from services.delivery.handlers.delivery import Line
from services.delivery.ports import Enquiry, Question

log = get_logger(__name__)

_SIZES = (50, 200)  # rows and recipients leased at once
_POLL_SECONDS = 1.0
_ERASED = Unclear("the customer's data was erased", final=True)
_MOVED = Unclear("the customer has a different address by now", final=True)

_verified = Metric(
    "depesche_delivery_verified",
    "Results of querying a provider about an unknown message: sent, not_sent, asked_again, given_up",
    ["channel", "outcome"],
)

_SenderKey = tuple[int, Mode, Channel, int]
_Answered = tuple[Sequence[Doubt], Answer]


class Verifier:
    """Queries what is due until it is stopped."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; a query in flight is finished."""
        while not stop.is_set():
            try:
                if await self.run_once():
                    continue
            except Unavailable as error:
                log.warning("verifier_waits", detail=error.detail)
            await pause(stop, _POLL_SECONDS)

    async def run_once(self) -> bool:
        """Query what is due once; return whether there was anything."""
        pace = self._line.pace
        leased_at = time.monotonic()
        rows = await self._line.doubts.lease_doubts(_SIZES, pace.lease)
        if not rows:
            return False
        doubts = await self._line.doubts.doubts(rows)
        with span("verify", messages=len(doubts)):
            answered = await self._answered(doubts, leased_at + pace.lease - pace.margin)
            judge = Judge(pace.retry.verify, pace.retry.max_resends, self._line.clock(), self._line.draw())
            learned = [one for about, answer in answered for one in judge.of(about, answer)]
            changed = await self._line.doubts.learn(rows, learned)
        self._tell(changed, [one for one in learned if one.ask_at is not None])
        return True

    def _tell(self, changed: Sequence[Learned], open_: Sequence[Learned]) -> None:
        for (channel, outcome), count in Counter((o.doubt.channel, o.outcome) for o in (*changed, *open_)).items():
            _verified.labels(channel.word, outcome).inc(count)
        for lane in {one.doubt.row.request.lane for one in changed}:
            self._line.wake(lane)

    # ---- whom to ask, and about which addresses

    async def _answered(self, doubts: Sequence[Doubt], deadline: float) -> list[_Answered]:
        """Return every doubt with the answer about its address."""
        answered: list[_Answered] = []
        by_sender: dict[_SenderKey, dict[str, list[Doubt]]] = defaultdict(lambda: defaultdict(list))
        for doubt, address in await self._located(doubts):
            if doubt.free_at is not None:
                wait = (doubt.free_at - self._line.clock()).total_seconds()
                answered.append(([doubt], Unclear("its sender is at its limit", max(0.0, wait))))
            elif isinstance(address, Unclear):
                answered.append(([doubt], address))
            else:
                by_sender[_sender_key(doubt)][address].append(doubt)
        senders = await self._line.senders.get(by_sender) if by_sender else {}
        asked = [self._asked(senders.get(key), about, deadline) for key, about in by_sender.items()]
        return answered + [one for some in await asyncio.gather(*asked) for one in some]

    async def _located(self, doubts: Sequence[Doubt]) -> list[tuple[Doubt, str | Unclear]]:
        """Return the address of each doubt: only the one that was written to will do."""
        by_realm: dict[tuple[int, Mode], list[Doubt]] = defaultdict(list)
        for doubt in doubts:
            by_realm[doubt.row.request.tenant, doubt.row.request.mode].append(doubt)
        return [one for realm, some in by_realm.items() for one in await self._located_in(realm, some)]

    async def _located_in(self, realm: tuple[int, Mode], doubts: Sequence[Doubt]) -> list[tuple[Doubt, str | Unclear]]:
        channels = tuple(sorted({doubt.channel.word for doubt in doubts}))
        keys = sorted({doubt.recipient for doubt in doubts if doubt.recipient})
        try:
            found = await self._line.tokens.resolve(Question(*realm, None, channels, keys)) if keys else {}
        except Transient as error:
            away = Unclear(f"the customer's addresses could not be looked up: {error.detail}")
            return [(doubt, away) for doubt in doubts]
        return [(doubt, _address(doubt, found.get(doubt.recipient))) for doubt in doubts]

    # ---- asking

    async def _asked(self, sender: Sender | None, about: Mapping[str, list[Doubt]], deadline: float) -> list[_Answered]:
        """Send one query per address, as many concurrently as the sender has connections."""
        if sender is None:
            return _all(about, Unclear("its sender is not configured"))
        breaker = self._line.breakers.of(sender.tenant, int(sender.mode), sender.number)
        now = time.monotonic()
        if breaker.state(now) is State.OPEN:
            return _all(about, Unclear("its sender is paused after many failures", breaker.opens_in(now)))
        addresses = list(about)
        answers: dict[int, Answer] = {}
        begin_before = deadline - sender.account.timeout_seconds
        enquiry = self._line.enquiries[sender.channel]
        await enquiry.ask(sender, addresses, begin_before, answers.__setitem__)
        answered = [(about[address], answers[place]) for place, address in enumerate(addresses)]
        told = [(doubts, await self._without_others(enquiry, doubts, answer)) for doubts, answer in answered]
        return [(doubts, _of_this_account(sender, doubts, answer)) for doubts, answer in told]

    async def _without_others(self, enquiry: Enquiry, doubts: Sequence[Doubt], answer: Answer) -> Answer:
        """Remove from the answer what a receipt has identified as another message: it says nothing about these."""
        if isinstance(answer, Unclear):
            return answer
        apart = timedelta(seconds=self._line.pace.retry.verify.apart_seconds)
        near = [taken for taken in answer if any(doubt.near(taken.at, apart) for doubt in doubts)]
        events = {event: taken.ref for taken in near for event in enquiry.receipts_of(taken.ref)}
        mine = {doubt.key for doubt in doubts}
        owners = await self._line.doubts.owners(list(events)) if events else {}
        others = {events[event] for event, owner in owners.items() if owner not in mine}
        return [taken for taken in near if taken.ref not in others]


def _all(about: Mapping[str, list[Doubt]], answer: Answer) -> list[_Answered]:
    return [(doubts, answer) for doubts in about.values()]


def _of_this_account(sender: Sender, doubts: Sequence[Doubt], answer: Answer) -> Answer:
    """A sender that has changed since may use another account, in which earlier messages are missing."""
    changed_at = sender.changed_at
    if not answer and changed_at is not None and any(doubt.claimed_at <= changed_at for doubt in doubts):
        return Unclear("nothing is listed, but its sender has changed since and may use another account")
    return answer


def _sender_key(doubt: Doubt) -> _SenderKey:
    request = doubt.row.request
    return request.tenant, request.mode, doubt.channel, doubt.sender


def _address(doubt: Doubt, recipient: Recipient | None) -> str | Unclear:
    if recipient is None:
        return _ERASED
    for address in recipient["addresses"]:
        if address["id"] == doubt.address_id and a2b_base64(address["hash"]) == doubt.hash:
            return address["value"]
    return _MOVED
