"""Sending a history to a logger on a real socket."""

from datetime import date

import pytest
from aiohttp import web

from shared.events import Event
from simulator.adapters.logger_client import Receipt, send_events
from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.core.world import make_dynamics
from simulator.history import make_events, play_history
from tests.integration.simulator.services import FakeLogger
from tests.unit.simulator.worlds import make_small_world


def make_history() -> list[Event]:
    world = make_small_world()
    played = play_history(make_dynamics(world), seed=1, n_sessions=200)
    return list(make_events(played, world.catalog, date(2025, 3, 9)))


async def send(logger: FakeLogger, events: list[Event]) -> Receipt:
    async with logger.make_server() as server:
        client = PatientClient(
            str(server.make_url("/")),
            timeout_s=5,
            patience_s=5,
            max_connections=3,
            notify=lambda _: None,
        )
        async with client:
            return await send_events(
                client, events, chunk=100, n_parallel=3, on_receipt=lambda _: None
            )


async def test_every_event_arrives_once_however_often_it_is_sent() -> None:
    logger, events = FakeLogger(), make_history()
    logger.faults = [web.Response(status=503)]
    receipt = await send(logger, events)
    assert receipt == Receipt(len(events), len(events), 0, 0, [])
    assert logger.types == {"application/x-ndjson"}
    assert logger.n_requests == -(-len(events) // 100) + 1
    again = await send(logger, make_history())
    assert again == Receipt(len(events), 0, len(events), 0, [])
    assert logger.stored.keys() == {str(event.event_id) for event in events}


async def test_a_rejected_event_is_an_error_with_the_reason() -> None:
    logger = FakeLogger()
    logger.rejects = True
    with pytest.raises(ServiceError, match="rejects 100 events: track: too large"):
        await send(logger, make_history())


async def test_an_answer_of_something_else_is_an_error() -> None:
    logger = FakeLogger()
    logger.faults = [web.Response(text="<html>")]
    with pytest.raises(ServiceError, match="not an answer of a logger"):
        await send(logger, make_history())
