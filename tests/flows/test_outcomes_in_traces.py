"""The outcome of a send is on its span, so that a collector can keep the traces that somebody will ask about."""

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Ambiguous, Outcome, Rejected, Sent
from tests.flows.delivery_world import World


@pytest.mark.parametrize(
    ("answers", "outcome", "status"),
    [
        ([Sent("ref")], "sent", "UNSET"),
        ([Sent("ref"), Rejected(Reason.PROVIDER_REJECTED, "no")], "failed", "ERROR"),
        ([Sent("ref"), Ambiguous(Reason.TIMED_OUT, "no answer")], "unknown", "ERROR"),
    ],
)
async def test_the_worst_of_a_chunk_is_told(
    world: World, spans: InMemorySpanExporter, answers: list[Outcome], outcome: str, status: str
) -> None:
    release = await world.release(["push"])
    keys = [f"customer:{n}" for n in range(len(answers))]
    for key in keys:
        world.tokens.add(key, "push")
    left = iter(answers)
    world.provider.answer = lambda _: next(left)
    await world.request(release, keys)
    await world.send_all()
    records = [one for one in spans.get_finished_spans() if one.name == "record" and one.attributes]
    told = {dict(one.attributes or {}).get("depesche.outcome"): one.status.status_code.name for one in records}
    assert told[outcome] == status


async def test_a_call_that_took_half_of_its_time_out_is_told_as_slow(
    world: World, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = await world.release(["push"])
    world.tokens.add("customer:1", "push")
    world.provider.pause = lambda: 0.3
    monkeypatch.setattr("services.delivery.loops.sender._SLOW", 0.01)
    await world.request(release, ["customer:1"])
    await world.send_all()
    (call,) = [one for one in spans.get_finished_spans() if one.name == "call push"]
    assert dict(call.attributes or {})["depesche.slow"] is True
