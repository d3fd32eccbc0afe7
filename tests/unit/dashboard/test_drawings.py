"""What is drawn of results is kept, and not waited for longer than a page can."""

import asyncio
import threading

import pytest

from services.dashboard.core.results import Readings, Results, make_results
from services.dashboard.drawings import Drawings, Values
from tests.unit.dashboard.factories import make_measurements, make_timeline


class Artist:
    """Draws, when it is let."""

    def __init__(self) -> None:
        self.may_draw = threading.Event()
        self.drawn: list[Results] = []

    def __call__(self, results: Results) -> Values:
        self.may_draw.wait(10)
        self.drawn.append(results)
        return {"number": len(self.drawn)}


@pytest.fixture
def artist() -> Artist:
    return Artist()


def make() -> Results:
    measurements = make_measurements()
    return make_results(Readings(measurements, make_timeline(measurements)), weights=None)


async def test_the_same_results_are_drawn_once_for_all(artist: Artist) -> None:
    drawings, results = Drawings(artist), make()
    asks = [asyncio.create_task(drawings.get("A", results, patience_s=10)) for _ in range(3)]
    await asyncio.sleep(0)
    artist.may_draw.set()
    assert await asyncio.gather(*asks) == [{"number": 1}] * 3
    assert await drawings.get("A", results, patience_s=0) == {"number": 1}
    assert len(artist.drawn) == 1


async def test_what_takes_too_long_is_there_later_and_the_last_stays_until_then(
    artist: Artist,
) -> None:
    drawings, first, second = Drawings(artist), make(), make()
    assert await drawings.get("A", first, patience_s=0) is None
    artist.may_draw.set()
    assert await drawings.get("A", first, patience_s=10) == {"number": 1}
    artist.may_draw.clear()
    assert await drawings.get("A", second, patience_s=0) == {"number": 1}
    artist.may_draw.set()
    assert await drawings.get("A", second, patience_s=10) == {"number": 2}


async def test_a_drawing_that_fails_is_told_and_tried_again() -> None:
    def fail(_: Results) -> Values:
        raise ValueError("no ink")

    drawings = Drawings(fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="no ink"):
            await drawings.get("A", make(), patience_s=10)


async def test_closing_gives_up_what_is_being_drawn(artist: Artist) -> None:
    drawings = Drawings(artist)
    await drawings.get("A", make(), patience_s=0)
    await drawings.close()
    artist.may_draw.set()
    assert await drawings.get("A", make(), patience_s=10) is not None
