import asyncio

import pytest

from services.dashboard.refreshed import Known, Refreshed


class Source:
    """Counts its answers; waits for `gate`, and fails if there is a fault."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.fault: Exception | None = None
        self.n_calls = 0
        self.now = 0.0
        self.refreshed = Refreshed(
            self.compute, fresh_s=5, seconds=lambda: self.now, failures=(OSError,)
        )

    async def compute(self) -> int:
        self.n_calls += 1
        self.started.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return self.n_calls


async def test_who_is_patient_gets_a_value_and_who_is_not_none() -> None:
    source = Source()
    source.gate.clear()
    assert (await source.refreshed.get(patience_s=0)).value is None
    waiting = asyncio.create_task(source.refreshed.get())
    source.gate.set()
    assert (await waiting).value == 1
    assert source.n_calls == 1


async def test_an_old_value_is_shown_until_the_new_one_is_there() -> None:
    source = Source()
    await source.refreshed.get()
    source.now = 6.0
    source.gate.clear()
    assert await source.refreshed.get(patience_s=0) == Known(1, 6.0)
    source.gate.set()
    assert await source.refreshed.get() == Known(2, 0.0)


async def test_many_ask_and_one_computes() -> None:
    source = Source()
    answers = await asyncio.gather(*(source.refreshed.get() for _ in range(10)))
    assert {answer.value for answer in answers} == {1}


async def test_what_takes_long_rests_longer() -> None:
    source = Source()
    source.gate.clear()
    waiting = asyncio.create_task(source.refreshed.get())
    await source.started.wait()
    source.now = 10.0  # it took ten seconds
    source.gate.set()
    await waiting
    source.now = 45.0
    await source.refreshed.get()
    assert source.n_calls == 1
    source.now = 51.0
    await source.refreshed.get()
    assert source.n_calls == 2


async def test_a_failure_leaves_the_old_value_and_says_why() -> None:
    source = Source()
    await source.refreshed.get()
    source.now, source.fault = 6.0, OSError("away")
    known = await source.refreshed.get()
    assert (known.value, known.age_s, str(known.error)) == (1, 6.0, "away")


async def test_a_first_failure_is_raised_and_tried_again_later() -> None:
    source = Source()
    source.fault = OSError("away")
    with pytest.raises(OSError, match="away"):
        await source.refreshed.get()
    source.fault = None
    source.now = 6.0
    assert (await source.refreshed.get()).value == 2


async def test_a_bug_is_raised_to_who_waits() -> None:
    source = Source()
    source.fault = KeyError("bug")
    with pytest.raises(KeyError):
        await source.refreshed.get()


async def test_closing_gives_up_what_is_computed() -> None:
    source = Source()
    source.gate.clear()
    await source.refreshed.get(patience_s=0)
    await source.refreshed.close()
    await source.refreshed.close()
