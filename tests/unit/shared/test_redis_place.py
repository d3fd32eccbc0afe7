"""One URL says where Redis is, and how its keys are spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from services.recommender.adapters.session_store import make_shards
from shared.redis_place import RedisPlace, make_node_url, make_tags, parse_redis_url

CLUSTER = "redis+cluster://user:p%40ss@one:7000,two:7001/?shards=4&ssl_ca_certs=/ca.pem"


def test_a_server_is_what_it_was() -> None:
    url = "redis://user:pass@host:6379/3?x=1"
    assert parse_redis_url(url) == RedisPlace((url,))


def test_a_cluster_is_its_nodes_and_shards() -> None:
    place = parse_redis_url(CLUSTER)
    options = "/0?ssl_ca_certs=%2Fca.pem"
    assert place.urls == tuple(
        f"redis://user:p%40ss@{node}{options}" for node in ("one:7000", "two:7001")
    )
    assert place.n_shards == 4
    assert parse_redis_url("rediss+cluster://one") == RedisPlace(("rediss://one/0",), 16)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://one/1",
        "redis+cluster://",
        "redis+cluster://one,,two",
        "redis+cluster://one?shards=0",
        "redis+cluster://one?shards=many",
        "redis+cluster://one?shards=1025",
    ],
)
def test_what_is_no_cluster_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"cluster|shards"):
        parse_redis_url(url)


def test_nodes_are_reached_with_the_same_credentials() -> None:
    url = parse_redis_url(CLUSTER).urls[0]
    assert make_node_url(url, "three", 7002) == (
        "redis://user:p%40ss@three:7002/0?ssl_ca_certs=%2Fca.pem"
    )
    assert make_node_url("redis://one/0", "::1", 7000) == "redis://[::1]:7000/0"


@given(st.integers(1, 64))
def test_shards_lie_evenly_over_the_slots(n_shards: int) -> None:
    slots = [key_slot(tag.encode()) for tag in make_tags(n_shards)]
    assert [slot * n_shards // 16384 for slot in slots] == list(range(n_shards))


@given(st.integers(1, 64), st.integers(0, 2**31 - 1))
def test_a_listener_s_state_and_events_are_in_one_slot(n_shards: int, user: int) -> None:
    prefix, stream = make_shards(n_shards)[user % n_shards]
    assert key_slot(f"{prefix}{user}".encode()) == key_slot(stream.encode())


def test_tags_never_change() -> None:
    # Keys are found again by the next release.
    assert make_tags(4) == ("3", "2", "1", "0")
    assert make_shards(0) == [("segue:session:", "segue:events")]
