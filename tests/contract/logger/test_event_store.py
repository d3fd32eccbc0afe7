"""One suite over the in-memory event store and the one in Postgres."""

from collections.abc import AsyncIterator

import pytest

from services.logger.adapters.event_store import PostgresEventStore, open_pool
from services.logger.core.storage import EventStore
from tests.fakes import InMemoryEventStore
from tests.unit.logger.factories import NOW, make_batch, make_payload


@pytest.fixture(params=["memory", "postgres"])
def dsn(request: pytest.FixtureRequest) -> str | None:
    """Return the database's address; None for the store in memory."""
    if request.param == "memory":
        return None
    return str(request.getfixturevalue("database").dsn)


@pytest.fixture
async def store(dsn: str | None) -> AsyncIterator[EventStore]:
    if dsn is None:
        yield InMemoryEventStore()
        return
    async with open_pool(dsn, max_size=2) as pool:
        yield PostgresEventStore(pool, clock=lambda: NOW)


async def test_events_are_stored_once_however_often_they_come(store: EventStore) -> None:
    first = await store.store(make_batch(make_payload(1), make_payload(2)), source="t")
    again = await store.store(make_batch(make_payload(2), make_payload(3)), source="t")
    assert (first.stored, first.duplicates) == (2, 0)
    assert (again.stored, again.duplicates) == (1, 1)


async def test_an_event_twice_in_a_batch_is_a_duplicate(store: EventStore) -> None:
    result = await store.store(make_batch(make_payload(1), make_payload(1)), source="t")
    assert (result.stored, result.duplicates) == (1, 1)


async def test_what_cannot_be_stored_is_kept_with_its_reason(store: EventStore) -> None:
    result = await store.store(make_batch(make_payload(1), b"poison"), source="t")
    assert (result.stored, len(result.dead_letters)) == (1, 1)
    (letter,) = await store.fetch_dead_letters(limit=10)
    assert (letter.source, letter.payload) == ("t", "poison")
    assert letter.reason == result.dead_letters[0].reason
    assert await store.count_dead_letters() == 1


async def test_a_dead_letter_that_comes_again_is_kept_once(store: EventStore) -> None:
    for _ in range(2):
        await store.store(make_batch(b"poison"), source="t")
    assert await store.count_dead_letters() == 1


async def test_dead_letters_are_listed_newest_first(store: EventStore) -> None:
    await store.store(make_batch(b"old", b"new"), source="t")
    letters = await store.fetch_dead_letters(limit=1)
    assert [letter.payload for letter in letters] == ["new"]


async def test_an_empty_batch_is_no_fault(store: EventStore) -> None:
    result = await store.store(make_batch(), source="t")
    assert (result.stored, result.duplicates, result.dead_letters) == (0, 0, [])
    await store.ping()
