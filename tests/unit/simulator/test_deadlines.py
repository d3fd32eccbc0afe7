"""One timer limits every block, and only those whose time is over."""

import asyncio
from collections.abc import Iterator

import pytest

from simulator.adapters.deadlines import Deadlines

LONG_S = 60.0


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    short = Deadlines(0.05)
    yield short
    short.close()


async def sleep(deadlines: Deadlines, seconds: float) -> str:
    with deadlines:
        await asyncio.sleep(seconds)
    return "slept"


async def test_a_block_within_its_time_is_left_alone() -> None:
    long = Deadlines(LONG_S)
    assert await asyncio.gather(*(sleep(long, 0.001) for _ in range(8))) == ["slept"] * 8
    long.close()


async def test_a_block_whose_time_is_over_is_interrupted_and_the_task_goes_on(
    deadlines: Deadlines,
) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await sleep(deadlines, LONG_S)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await sleep(deadlines, 0.0) == "slept"


async def test_the_block_that_began_first_is_interrupted_first(deadlines: Deadlines) -> None:
    first = asyncio.create_task(sleep(deadlines, LONG_S))
    await sleep(deadlines, 0.0)  # one that ended long before the timer
    await asyncio.sleep(0.01)
    second = asyncio.create_task(sleep(deadlines, LONG_S))
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    with pytest.raises(TimeoutError):  # the timer was set anew
        await second


async def test_who_cancels_the_task_cancels_it() -> None:
    deadlines = Deadlines(LONG_S)
    task = asyncio.create_task(sleep(deadlines, LONG_S))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_a_cancellation_wins_over_a_deadline_that_passes_with_it() -> None:
    deadlines = Deadlines(0.0)
    task = asyncio.create_task(sleep(deadlines, LONG_S))
    await asyncio.sleep(0)  # it sleeps, its time is over, the timer has not run yet
    task.cancel()
    deadlines._expire(asyncio.get_running_loop())
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_an_error_within_a_block_passes_through(deadlines: Deadlines) -> None:
    with pytest.raises(KeyError), deadlines:
        raise KeyError
    assert await sleep(deadlines, 0.0) == "slept"
