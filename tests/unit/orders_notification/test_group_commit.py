"""Group commit: together when it is busy, at once when it is quiet, and nobody waits for an answer that never comes."""

import asyncio
from collections.abc import Sequence

import pytest

from libs.contracts.outcomes import Mode
from libs.errors import Unavailable
from libs.ids import uuid7
from services.orders_notification.adapters.group_commit import GroupCommitter
from services.orders_notification.domain.cloudevents import from_structured
from services.orders_notification.domain.intake import ACCEPTED, Origin, Submission, Verdict
from tests.unit.orders_notification.builders import NOW, event


def submission(id_: str) -> Submission:
    return Submission(Origin(1, Mode.LIVE, "key"), from_structured(event(id_), NOW))


class Writer:
    """Stands for the commit: remembers its batches."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.batches: list[list[str]] = []
        self.failure = failure

    async def __call__(self, submissions: Sequence[Submission]) -> list[Verdict]:
        self.batches.append([s.event.id for s in submissions])
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return [Verdict(ACCEPTED, uuid7()) for _ in submissions]


def committer(writer: Writer, **changes: float) -> GroupCommitter:
    told = {"window_seconds": 0.01, "most": 3, "room": 100} | changes
    made = GroupCommitter(told["window_seconds"], int(told["most"]), int(told["room"]))
    made.write = writer
    return made


async def test_those_who_come_together_are_written_together_in_order() -> None:
    writer = Writer()
    queue = committer(writer)
    verdicts = await asyncio.gather(*(queue.submit(submission(str(n))) for n in range(7)))
    assert writer.batches == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert len({v.id for v in verdicts}) == 7


async def test_a_lone_event_does_not_wait_for_the_window() -> None:
    writer = Writer()
    queue = committer(writer, window_seconds=30.0)
    async with asyncio.timeout(1):
        await queue.submit(submission("lone"))
        await queue.submit(submission("the next, at once"))
    assert writer.batches == [["lone"], ["the next, at once"]]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    queue = committer(Writer(), room=2)
    waiting = [asyncio.ensure_future(queue.submit(submission(str(n)))) for n in range(2)]
    await asyncio.sleep(0)
    results = await asyncio.gather(*(queue.submit(submission(f"x{n}")) for n in range(5)), return_exceptions=True)
    refused = [r for r in results if isinstance(r, Unavailable)]
    assert refused
    assert refused[0].retry_after >= 1
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("failure", [Unavailable("down"), RuntimeError("a bug")])
async def test_a_failed_batch_answers_everybody_and_the_next_one_goes_on(failure: Exception) -> None:
    writer = Writer(failure)
    queue = committer(writer)
    results = await asyncio.gather(*(queue.submit(submission(str(n))) for n in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}  # also those beyond the batch that failed
    if queue._task is not None and isinstance(failure, RuntimeError):
        with pytest.raises(RuntimeError):
            await queue._task
    writer.failure = None
    assert (await queue.submit(submission("next"))).status == ACCEPTED


async def test_who_has_gone_is_not_written() -> None:
    writer = Writer()
    queue = committer(writer, window_seconds=0.05)
    await asyncio.gather(queue.submit(submission("first")), queue.submit(submission("second")))
    gone = asyncio.ensure_future(queue.submit(submission("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await queue.submit(submission("last"))
    assert writer.batches == [["first", "second"], ["last"]]
