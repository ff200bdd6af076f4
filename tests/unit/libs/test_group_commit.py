"""Group commit: batches under load, commits at once when idle, and always answers its callers."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import Gauge

from libs.errors import Invalid, Unavailable
from libs.group_commit import GroupCommitter

WAITING = Gauge("test_group_commit_waiting", "For tests")


class Writer:
    """Stands in for the commit and records its batches."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.batches: list[list[str]] = []
        self.failure = failure

    async def __call__(self, items: Sequence[str]) -> list[str | Invalid]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return [Invalid("unfit", pointer="") if item == "unfit" else item.upper() for item in items]


def committer(writer: Writer, **changes: float) -> GroupCommitter[str, str]:
    told = {"window_seconds": 0.01, "most": 3, "room": 100} | changes
    made: GroupCommitter[str, str] = GroupCommitter(
        told["window_seconds"], int(told["most"]), int(told["room"]), WAITING
    )
    made.write = writer
    return made


async def test_concurrent_submissions_are_batched_in_order() -> None:
    writer = Writer()
    queue = committer(writer)
    outcomes = await asyncio.gather(*(queue.submit(str(n)) for n in range(7)))
    assert writer.batches == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert outcomes == ["0", "1", "2", "3", "4", "5", "6"]


async def test_a_lone_submission_does_not_wait_for_the_window() -> None:
    writer = Writer()
    queue = committer(writer, window_seconds=86_400.0)
    await queue.submit("lone")
    await queue.submit("the next, at once")
    assert writer.batches == [["lone"], ["the next, at once"]]


async def test_a_full_queue_refuses_with_retry_after() -> None:
    queue = committer(Writer(), room=2)
    waiting = [asyncio.ensure_future(queue.submit(str(n))) for n in range(2)]
    await asyncio.sleep(0)
    results = await asyncio.gather(*(queue.submit(f"x{n}") for n in range(5)), return_exceptions=True)
    refused = [r for r in results if isinstance(r, Unavailable)]
    assert [error.retry_after for error in refused] == [1, 1, 1]  # two wait, as many as there is room for
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("failure", [Unavailable("down"), RuntimeError("a bug")])
async def test_a_failed_batch_answers_every_caller_and_the_queue_recovers(failure: Exception) -> None:
    writer = Writer(failure)
    queue = committer(writer)
    results = await asyncio.gather(*(queue.submit(str(n)) for n in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}  # including callers queued behind the failed batch
    if queue._task is not None and isinstance(failure, RuntimeError):
        with pytest.raises(RuntimeError):
            await queue._task
    writer.failure = None
    assert await queue.submit("next") == "NEXT"


async def test_an_invalid_item_fails_only_its_own_caller() -> None:
    queue = committer(Writer())
    results = await asyncio.gather(*(queue.submit(item) for item in ("a", "unfit", "b")), return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == ("A", Invalid, "B")


async def test_a_cancelled_submission_is_not_written() -> None:
    writer = Writer()
    queue = committer(writer, window_seconds=86_400.0, most=2)
    await asyncio.gather(queue.submit("first"), queue.submit("second"))
    gone, last = (asyncio.ensure_future(queue.submit(item)) for item in ("gone", "last"))
    await asyncio.sleep(0)  # both are waiting, and fill a batch, so that it does not wait for the window
    gone.cancel()
    await last
    assert writer.batches == [["first", "second"], ["last"]]


async def test_nothing_is_committed_for_callers_who_have_all_gone() -> None:
    writer = Writer()
    queue = committer(writer)
    gone = asyncio.ensure_future(queue.submit("gone"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])  # its batch has its turn meanwhile
    assert await queue.submit("last") == "LAST"
    assert writer.batches == [["last"]]


async def test_a_caller_that_leaves_during_the_commit_takes_nobody_with_it() -> None:
    began = asyncio.Event()

    class Telling(Writer):
        async def __call__(self, items: Sequence[str]) -> list[str | Invalid]:
            began.set()
            return await super().__call__(items)

    queue = committer(Telling())
    gone, *others = (asyncio.ensure_future(queue.submit(item)) for item in ("gone", "a", "b"))
    await began.wait()
    gone.cancel()
    assert await asyncio.gather(*others) == ["A", "B"]
