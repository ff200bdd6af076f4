"""How a silent HTTP/2 peer is detected: times are parameters, none passes."""

from services.delivery.adapters.http2.keeping import Limits, Pulse, Watch

LIMITS = Limits(call_seconds=10, ping_idle_seconds=15, ping_answer_seconds=5)


def test_an_idle_peer_is_pinged_every_fifteen_seconds() -> None:
    watch = Watch(LIMITS, 0.0)
    assert watch.look(5.0, None) == (Pulse.WELL, 10.0)
    assert watch.look(14.0, None) == (Pulse.WELL, 15.0)
    assert watch.look(15.0, None) == (Pulse.ASK, 20.0)
    watch.heard(15.1)
    assert watch.look(20.0, None) == (Pulse.WELL, 25.0)
    assert watch.look(30.1, None)[0] is Pulse.ASK
    assert watch.look(35.0, None) == (Pulse.WELL, 35.1)
    assert watch.look(35.1, None)[0] is Pulse.DEAD


def test_a_silent_peer_is_dead_when_its_first_call_times_out() -> None:
    watch = Watch(LIMITS, 0.0)
    began, due = 12.0, 22.0
    assert watch.look(13.0, due) == (Pulse.WELL, began + 5)
    assert watch.look(17.0, due) == (Pulse.ASK, 22.0)
    assert watch.look(22.0, None)[0] is Pulse.DEAD


def test_a_call_is_checked_when_it_is_due() -> None:
    watch = Watch(LIMITS, 0.0)
    watch.heard(11.9)
    assert watch.look(11.9, 12.5) == (Pulse.WELL, 12.5)
