"""Every repeat is detected, among any number of messages."""

from services.simulator.domain.tally import FirstSeen, Tally


def test_each_message_is_new_once() -> None:
    # given many messages, each of which arrives twice
    seen = FirstSeen()
    keys = [f"0199a7e2-0000-8000-8000-{n:012d}.{n % 7}" for n in range(50_000)]
    # when they are counted
    first = [seen.add(key, 1000 + n, n % 5) for n, key in enumerate(keys)]
    again = [seen.add(key, 9_000_000) for key in keys]
    # then none of the first is a repeat, and each of the second refers to the first
    assert first == [None] * len(keys)
    assert again == [(1000 + n, n % 5) for n in range(len(keys))]
    assert len(seen) == len(keys)


def test_a_repeat_records_its_times_and_attempts() -> None:
    tally = Tally("push")
    assert [tally.accept("a", 10, 1), tally.accept("b", 11, 1), tally.accept("a", 12, 2), tally.accept("a", 13, 3)] == [
        False,
        False,
        True,
        True,
    ]
    assert tally.repeats == {"a": [(10, 1), (12, 2), (13, 3)]}
    figures = tally.figures()
    assert (figures["accepted"], figures["distinct"], figures["repeated"]) == (4, 2, 2)


def test_reset_forgets_everything() -> None:
    tally = Tally("push")
    tally.accept("a", 10)
    tally.refuse("429 QUOTA_EXCEEDED")
    tally.clear()
    assert tally.figures()["accepted"] == tally.figures()["refused"] == tally.figures()["distinct"] == 0
    assert tally.accept("a", 20) is False
