"""The fault that an address requests, and when a script ends."""

import pytest

from services.simulator.domain.faults import Fault, Faults, Script, Scripted, of_address, of_phone


@pytest.mark.parametrize(
    ("address", "scripted"),
    [
        ("fault-429x2-a1b2c3", Scripted(Fault.TOO_MANY, 2)),
        ("fault-timeout-accepted-a1b2", Scripted(Fault.TIMEOUT_ACCEPTED)),
        ("fault-reset-accepted", Scripted(Fault.RESET_ACCEPTED)),
        ("fault-reset-accep", Scripted(Fault.RESET)),
        ("anna+fault.dead@example.com", Scripted(Fault.DEAD)),
        ("anna+fault.DEAD-after-datax10@example.com", Scripted(Fault.DEAD_AFTER_DATA, 10)),
        ("/webhooks/fault-503x1/orders", Scripted(Fault.UNAVAILABLE, 1)),
        ("default-429-token", None),
        ("fault-deadline-1", None),
        ("fault-42-1", None),
        ("dXh0b2tlbg:APA91bFault", None),
    ],
)
def test_an_address_encodes_its_fault_and_count(address: str, scripted: Scripted | None) -> None:
    assert of_address(address) == scripted


@pytest.mark.parametrize(
    ("number", "scripted"),
    [
        ("+4915119990429", Scripted(Fault.TOO_MANY)),
        ("+4915119992429", Scripted(Fault.TOO_MANY, 2)),
        ("+4915119990610", Scripted(Fault.STOPPED)),
        ("+4915119990999", None),
        ("+4915112340429", None),
    ],
)
def test_a_phone_number_encodes_its_fault_in_its_last_digits(number: str, scripted: Scripted | None) -> None:
    assert of_phone(number) == scripted


def test_a_counted_fault_ends_for_each_message_separately() -> None:
    # given a device that refuses the first two calls of each message
    faults, scripted = Faults(lambda: 0.0), Scripted(Fault.TOO_MANY, 2)
    # when the calls of two messages are interleaved
    answers = [faults.of_message("push", scripted, tag) for tag in ("a", "b", "a", "b", "a", "b")]
    # then each is accepted at its third call
    assert answers == [Fault.TOO_MANY] * 4 + [None, None]


def test_a_channels_script_ends_after_its_time_or_calls() -> None:
    now = 0.0
    faults = Faults(lambda: now)
    faults.add(Script("email", Fault.GREYLISTED, until=2.0))
    faults.add(Script("push", Fault.UNAVAILABLE, remaining=1))
    assert faults.of_channel("email") is Fault.GREYLISTED
    assert [faults.of_channel("push"), faults.of_channel("push")] == [Fault.UNAVAILABLE, None]
    assert faults.of_channel("sms") is None
    now = 2.0
    assert faults.of_channel("email") is None
    assert faults.scripts == []


def test_a_script_with_a_share_fails_that_share_of_calls() -> None:
    chances = iter([0.1, 0.9])
    faults = Faults(lambda: 0.0, lambda: next(chances))
    faults.add(Script("push", Fault.INTERNAL, share=0.5))
    assert [faults.of_channel("push"), faults.of_channel("push")] == [Fault.INTERNAL, None]
