"""The story of one call: judge it by the scripts, accept, refuse or lose it, and schedule what follows."""

from uuid import uuid4

from services.simulator.domain.agenda import Due, OwnReceipt, ReturnedMail
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.exchange import Exchange
from services.simulator.domain.faults import Fault, Scripted
from services.simulator.domain.reports import REPORTS, report_about

_LATE = frozenset({Fault.LATE_RECEIPT, Fault.TIMEOUT_RECEIPT})


def judge(exchange: Exchange, channel: str, scripted: Scripted | None, tag: object) -> Fault | None:
    """Return the fault for another call for a message: the channel's script precedes the address's."""
    if (fault := exchange.faults.of_channel(channel)) is not None:
        return fault
    return exchange.faults.of_message(channel, scripted, tag) if scripted is not None else None


def accept(exchange: Exchange, call: Arrival, fault: Fault | None = None) -> None:
    """Count a message as accepted, store it for viewing, and schedule its receipts."""
    call.milliseconds = now = exchange.unix()
    tally = exchange.tallies[call.channel]
    tally.calls += 1
    tally.accept(call.tag, now, call.attempt)
    exchange.arrivals.add(call)
    if fault is not None:
        _owe(exchange, call, fault)
    elif exchange.timing.delivered_share and call.channel in ("push", "email"):
        _owe_by_share(exchange, call)


def refuse(exchange: Exchange, call: Arrival, answer: str) -> None:
    """Count a refusal under its answer."""
    tally = exchange.tallies[call.channel]
    tally.calls += 1
    tally.refuse(answer)
    call.milliseconds, call.outcome = exchange.unix(), answer
    exchange.arrivals.add(call)


def lose(exchange: Exchange, channel: str) -> None:
    """Count a call that was neither accepted nor answered."""
    tally = exchange.tallies[channel]
    tally.calls += 1
    tally.lost += 1


def owe_receipt(exchange: Exchange, call: Arrival, kind: str, delay: float, *, twice: bool = False) -> None:
    """Schedule a receipt in the simulator's own form; `twice`: the same one again, as providers do."""
    receipt = OwnReceipt(str(uuid4()), call.tag, call.attempt, call.channel, kind)
    for number in range(2 if twice else 1):
        exchange.agenda.add(exchange.clock() + delay * (number + 1), Due(receipt))


def _owe(exchange: Exchange, call: Arrival, fault: Fault) -> None:
    timing = exchange.timing
    if call.channel == "email" and (report := REPORTS.get(fault)) is not None:
        raw = report_about(report, call, exchange.unix())
        exchange.agenda.add(exchange.clock() + timing.receipt, Due(ReturnedMail(call.sender, raw)))
    elif call.channel in ("push", "email"):  # an SMS has Twilio's callbacks; a webhook's answer is its receipt
        if fault in _LATE:
            owe_receipt(exchange, call, "delivered", timing.late)
        elif fault is Fault.DOUBLE_RECEIPT:
            owe_receipt(exchange, call, "delivered", timing.receipt, twice=True)
        elif fault is Fault.UNDELIVERED:
            owe_receipt(exchange, call, "failed", timing.receipt)


def _owe_by_share(exchange: Exchange, call: Arrival) -> None:
    timing = exchange.timing
    if exchange.chance() < timing.delivered_share:
        owe_receipt(exchange, call, "delivered", timing.receipt)
        if exchange.chance() < timing.opened_share:
            owe_receipt(exchange, call, "opened", timing.receipt * 2)
