import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from services.recommender.adapters.tallies import BulkHistogram, Tallies

BOUNDS = (0.1, 0.2, 0.4)


def test_nothing_is_written_before_it_is_flushed_and_nothing_twice() -> None:
    registry, tallies = CollectorRegistry(), Tallies()
    counter = Counter("plays", "Plays.", ("arm",), registry=registry).labels("C")
    tally = tallies.of_counter(counter)
    tally.amount += 2
    tally.amount += 0.5
    assert registry.get_sample_value("plays_total", {"arm": "C"}) == 0
    for _ in range(2):
        tallies.flush()
        assert registry.get_sample_value("plays_total", {"arm": "C"}) == 2.5


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 7.0])))
def test_a_flushed_histogram_is_the_one_that_observed_each(values: list[float]) -> None:
    one_by_one, at_once, tallies = CollectorRegistry(), CollectorRegistry(), Tallies()
    plain = Histogram("s", "Seconds.", buckets=BOUNDS, registry=one_by_one)
    tally = tallies.of_histogram(BulkHistogram("s", "Seconds.", buckets=BOUNDS, registry=at_once))
    for number, value in enumerate(values):
        plain.observe(value)
        tally.observe(value)
        if number % 3 == 0:
            tallies.flush()
    tallies.flush()

    def read(registry: CollectorRegistry) -> list[tuple[str, float]]:
        lines = generate_latest(registry).decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith(("#", "s_created")))
        return [(name, pytest.approx(float(value))) for name, _, value in pairs]

    assert read(at_once) == read(one_by_one)


async def test_what_is_left_is_written_at_the_end() -> None:
    registry, tallies = CollectorRegistry(), Tallies()
    tally = tallies.of_counter(Counter("plays", "Plays.", registry=registry))
    running = asyncio.create_task(tallies.flush_regularly())
    await asyncio.sleep(0)
    tally.amount += 3
    running.cancel()
    await asyncio.wait([running])
    assert registry.get_sample_value("plays_total") == 3
