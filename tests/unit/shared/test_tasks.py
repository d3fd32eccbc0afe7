import asyncio

from shared.tasks import in_background


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
