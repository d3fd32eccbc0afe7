import asyncio
from pathlib import Path

from redis.asyncio import Redis

from deploy.local.servers import ValkeyServer
from shared.definition_log import LOADS_KEY
from tests.integration.recommender.conftest import Service, serving, until
from tests.unit.recommender.factories import FIRST_ID


async def test_a_session_and_its_events_are_stored_before_the_answer(service: Service) -> None:
    first = (await service.next(3)).json()
    second = (await service.next(3, first["track"])).json()
    third = (await service.last(3, second["track"])).json()
    events = service.events()
    assert [event.message for event in events] == ["next", "next", "last"]
    assert [event.position for event in events] == [0, 1, 2]
    assert [event.track for event in events[1:]] == [first["track"], second["track"]]
    assert {str(event.session) for event in events} == {third["session"]}


async def test_concurrent_requests_of_one_user_get_contiguous_positions(service: Service) -> None:
    responses = await asyncio.gather(*(service.next(3) for _ in range(40)))
    assert {response.status_code for response in responses} == {200}
    events = service.events()
    assert [event.position for event in events] == list(range(40))
    assert len({event.session for event in events}) == 1
    assert len({event.recommendation for event in events}) == 40
    answered = {response.json()["track"] for response in responses}
    assert answered == {event.recommendation for event in events}


async def test_two_processes_share_one_session(
    service: Service, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with serving(tmp_path, valkey.url, deadline_s=5) as other:
        both = [service.next(3) for _ in range(15)] + [other.next(3) for _ in range(15)]
        responses = await asyncio.gather(*both)
    assert {response.status_code for response in responses} == {200}
    assert [event.position for event in service.events()] == list(range(30))


async def test_a_playback_of_an_open_session_asks_redis_once(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    # Who looks for model versions asks Redis, too: not now.
    async with serving(tmp_path, valkey.url, deadline_s=5, poll_s=600) as service:
        await service.next(3)
        await redis.config_resetstat()
        for _ in range(5):
            assert (await service.next(3)).status_code == 200
        counts = await redis.info("commandstats")
    assert counts["cmdstat_evalsha"]["calls"] == 5
    assert "cmdstat_get" not in counts


async def test_what_another_process_did_is_not_overlooked(
    service: Service, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with serving(tmp_path, valkey.url, deadline_s=5) as other:
        one = (await service.next(3)).json()
        two = (await other.next(3)).json()
        three = (await service.next(3)).json()
        await other.last(3)
        anew = (await service.next(3)).json()
    assert one["session"] == two["session"] == three["session"] != anew["session"]
    assert len({one["track"], two["track"], three["track"]}) == 3
    assert [event.position for event in service.events()] == [0, 1, 2, 3, 0]


async def test_nothing_is_refused_for_what_another_process_has_changed(
    service: Service, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with serving(tmp_path, valkey.url, deadline_s=5) as other:
        for _ in range(59):  # the catalogue has 60 tracks
            assert (await service.next(3)).status_code == 200
        assert (await service.next(3)).status_code == 409
        await other.last(3)
        assert (await service.next(3)).status_code == 200


async def test_concurrent_retries_with_one_key_are_one_event(service: Service) -> None:
    headers = {"Idempotency-Key": "k"}
    responses = await asyncio.gather(*(service.last(3, headers=headers) for _ in range(10)))
    assert len({response.content for response in responses}) == 1
    assert len(service.events()) == 1


async def test_a_session_ends_by_itself_after_a_silence(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with serving(tmp_path, valkey.url, session_timeout_s=1, deadline_s=5) as service:
        one = (await service.next(3)).json()
        await asyncio.sleep(0.6)
        two = (await service.next(3)).json()
        await asyncio.sleep(0.6)  # each request counts anew
        three = (await service.next(3)).json()
        assert one["session"] == two["session"] == three["session"]
        await asyncio.sleep(1.2)
        four = (await service.next(3)).json()
    assert four["session"] != one["session"]
    assert [event.position for event in service.events()] == [0, 1, 2, 0]


async def test_last_leaves_nothing_behind(redis: Redis, service: Service) -> None:
    await service.next(3)
    assert await redis.ttl("segue:session:3") > 1790
    await service.last(3)
    assert not await redis.exists("segue:session:3")


async def test_a_remembered_key_expires_too(redis: Redis, service: Service) -> None:
    await service.last(3, headers={"Idempotency-Key": "k"})
    assert await redis.ttl("segue:session:3") > 1790


async def test_a_state_that_cannot_be_read_starts_anew(redis: Redis, service: Service) -> None:
    await redis.set("segue:session:3", b"\xc1 from another release")
    assert (await service.next(3)).status_code == 200
    assert [event.position for event in service.events()] == [0]


async def test_bad_input_leaves_no_trace(redis: Redis, service: Service) -> None:
    await until(lambda: redis.exists(LOADS_KEY))  # written beside the requests
    keys = await redis.keys()
    assert (await service.next(3, 1)).status_code == 422
    assert (await service.next(-3)).status_code == 422
    assert await redis.keys() == keys


async def test_restarts_and_concurrency_do_not_change_the_tracks(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async def play(service: Service, user: int) -> list[int]:
        tracks = [FIRST_ID]
        for _ in range(5):
            tracks.append((await service.next(user, tracks[-1])).json()["track"])
        await service.last(user, tracks[-1])
        return tracks

    async with serving(tmp_path, valkey.url, deadline_s=5) as service:
        one_by_one = [await play(service, user) for user in range(10)]
    async with serving(tmp_path, valkey.url, deadline_s=5) as service:
        at_once = await asyncio.gather(*(play(service, user) for user in range(10)))
    assert one_by_one == list(at_once)


async def test_a_strangers_key_locks_no_listener_out(service: Service, redis: Redis) -> None:
    await redis.rpush("segue:session:3", "a list")
    assert (await service.next(3)).status_code == 200
    await redis.delete("segue:session:3")
    await redis.rpush("segue:session:3", "a list")  # what was written last is believed to be there
    assert (await service.next(3)).status_code == 200
    assert len({event.session for event in service.events()}) == 2
