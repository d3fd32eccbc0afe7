import asyncio
import logging

import pytest

from shared.tasks import BackgroundTasks, in_background


async def test_work_runs_beside_the_block_and_ends_with_it() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async with in_background(work()):
        await asyncio.sleep(0)
        assert seen == ["started"]
    assert seen == ["started", "ended"]


async def test_work_that_swallows_a_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    async with in_background(work()):
        await asyncio.sleep(0)
    assert swallowed == 2


async def test_work_that_ended_is_told_by_name(caplog: pytest.LogCaptureFixture) -> None:
    async def last() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise RuntimeError("worn out")

    tasks = BackgroundTasks()
    with caplog.at_level(logging.ERROR):
        async with tasks.running("good", last()), tasks.running("bad", fail()):
            assert tasks.state() == {"good": "ok", "bad": "ok"}
            await asyncio.sleep(0.01)
            assert tasks.state() == {"good": "ok", "bad": "ended: RuntimeError('worn out')"}
    assert tasks.state() == {}
    assert [record.getMessage() for record in caplog.records] == ["bad has ended, until a restart"]
